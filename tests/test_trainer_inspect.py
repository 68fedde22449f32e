"""What becomes of an answer, and the numbers of the next one."""

import json
from typing import Any

from imported_turns import ImportedTurn, load_turns
from retrain_scene import SETTINGS, Scene
from typer.testing import CliRunner

from store import Store
from store.records import Ruling, Segment, SegmentKind, Split, Verdict
from trainer.__main__ import app
from trainer.examples.dataset import dataset_stats
from trainer.examples.selection import DropReason

UP, DOWN = Verdict.UP, Verdict.DOWN


def run(scene: Scene, *words: str) -> Any:
    return CliRunner().invoke(app, [*words, "--data-dir", str(scene.context.data_dir)])


REWORDINGS = (
    "How do I change my pin?",
    "could you tell me how to change my pin please",
    "What do I do to change the PIN",
    "how can I chagne my pin",
)


def test_why_names_the_rule_and_what_stands_for_an_answer(scene: Scene) -> None:
    scene.rate(20)
    turns = [ImportedTurn(f"n{n}", text, "a", UP) for n, text in enumerate(REWORDINGS)]
    load_turns(scene.store, "bank", [*turns, ImportedTurn("down", "Where is my card?", "a", DOWN)])
    scene.store.splits.record({f"n{n}": Split.TRAIN for n in range(4)})
    ids = [f"n{n}.1.assistant" for n in range(4)]

    def why(id: str, *words: str) -> str:
        shown = run(scene, "why", id, *words)
        assert shown.exit_code == 0, shown.output
        return str(shown.output)

    said = why(ids[1])
    assert "would be in the next dataset, in train" in said and "no dataset yet" in said
    version = scene.snapshot()
    (near,) = set(ids) - {example.message_id for example in version.examples}
    said = why(near)
    assert "Instead of it 3 stay" in said
    assert f"not in dataset {version.id}, the newest" in said and DropReason.SIMILAR in said
    record = json.loads(why(near, "--json"))
    assert record["rule"] == DropReason.SIMILAR and len(record["others"]) == 3
    assert DropReason.RATED_DOWN in why("down.1.assistant")
    assert "in the next dataset, in train" in why(near, "--set", "similar_cap=0")
    used = next(id for id in ids if id != near)
    assert f"It is in dataset {version.id}, the newest, in train" in why(used)
    assert "it is a question" in why(used.replace("assistant", "user"))
    missing = run(scene, "why", "nobody")
    assert missing.exit_code == 2 and "nobody" in missing.output


def test_decisions_change_what_would_be_learned(store: Store) -> None:
    store.assistants.create("desk", "Desk", "exact")
    store.prompts.add("desk", [Segment("a", SegmentKind.INSTRUCTION, text="Answer.")])
    turns = [
        ImportedTurn("c1", "When?", "At nine.", UP),
        ImportedTurn("c2", "when", "At ten.", UP),
        ImportedTurn("c3", "Where?", "Here.", DOWN),
        ImportedTurn("c4", "Dogs?", "No."),
    ]
    load_turns(store, "desk", turns)

    def examples(found: dict) -> int:
        return found["train"] + found["dev"] + found["gate"]

    before = dataset_stats(store, "desk", SETTINGS)
    assert examples(before) == 2 and before["contradictions"] == 1 and before["reviewed"] == 0
    assert before["dropped"] == {DropReason.RATED_DOWN.value: 1} and "Not enough yet" in before["shortage"]

    store.decisions.add("c2.1.assistant", "rev", Ruling.REJECT)
    store.decisions.add("c3.1.assistant", "rev", Ruling.CORRECT, "By the quay.")
    store.decisions.add("c4.1.assistant", "rev", Ruling.APPROVE)  # which nobody had rated
    after = dataset_stats(store, "desk", SETTINGS)
    assert examples(after) == 3 and after["contradictions"] == 0
    assert (after["reviewed"], after["corrected"]) == (2, 1)
    assert after["dropped"] == {DropReason.REJECTED.value: 1}
