"""What becomes of an answer, what differs between two datasets, and the numbers of the next one."""

import json
from typing import Any

from retrain_scene import SETTINGS, Scene
from typer.testing import CliRunner

from store import Store
from store.records import Dataset, Example, ImportedTurn, Role, Ruling, Segment, SegmentKind, Split, Verdict
from trainer.__main__ import app
from trainer.examples.dataset import dataset_stats
from trainer.examples.selection import DropReason
from trainer.inspection import GONE, compare

UP, DOWN = Verdict.UP, Verdict.DOWN


def example(number: int, completion: str = "yes", split: Split = Split.TRAIN) -> Example:
    return Example(f"m{number}", f"c{number}", ((Role.USER, f"question {number}"),), completion, False, split)


def dataset(id: int, *examples: Example) -> Dataset:
    return Dataset(id, "bank", 1, "hash", 0.0, examples)


def test_two_versions_are_compared_by_message() -> None:
    old = dataset(1, example(1), example(2), example(3), example(4), example(5))
    new = dataset(2, example(1), example(2, "no"), example(3, split=Split.DEV), example(6))
    found = compare(old, new, {"m4": DropReason.SIMILAR.value})
    assert (found["same"], [c["message_id"] for c in found["added"]]) == (1, ["m6"])
    removed = [(c["message_id"], c["rule"]) for c in found["removed"]]
    assert removed == [("m4", DropReason.SIMILAR), ("m5", GONE)]
    assert [(c["before"], c["after"]) for c in found["changed"]] == [("yes", "no")]
    assert [(c["before"], c["after"]) for c in found["moved"]] == [("train", "dev")]
    assert compare(new, new, {}) == {
        "old": 2,
        "new": 2,
        "same": 4,
        "added": [],
        "removed": [],
        "changed": [],
        "moved": [],
    }


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
    scene.store.transfer.load("bank", [*turns, ImportedTurn("down", "Where is my card?", "a", DOWN)])
    scene.store.splits.record({f"n{n}": Split.TRAIN for n in range(4)})
    ids = [f"n{n}.1.assistant" for n in range(4)]

    def why(id: str, *words: str) -> str:
        shown = run(scene, "why", id, *words)
        assert shown.exit_code == 0, shown.output
        return str(shown.output)

    said = why(ids[1])
    assert "would be in the next dataset, in train" in said and "no dataset yet" in said
    version = scene.snapshot()
    (near,) = scene.store.datasets.left_out(version.id).keys() & set(ids)
    said = why(near)
    assert "Instead of it 3 stay" in said
    assert f"not in dataset {version.id}, the newest: left out as: {DropReason.SIMILAR}" in said
    record = json.loads(why(near, "--json"))
    assert record["rule"] == record["frozen_rule"] == DropReason.SIMILAR and len(record["others"]) == 3
    assert DropReason.RATED_DOWN in why("down.1.assistant")
    assert "in the next dataset, in train" in why(near, "--set", "similar_cap=0")
    used = next(id for id in ids if id != near)
    assert f"It is in dataset {version.id}, the newest, in train" in why(used)
    assert "it is a question" in why(used.replace("assistant", "user"))
    missing = run(scene, "why", "nobody")
    assert missing.exit_code == 2 and "nobody" in missing.output


def test_versions_are_listed_and_compared(scene: Scene) -> None:
    assert "No dataset yet" in run(scene, "datasets").output
    assert json.loads(run(scene, "datasets", "--json").output) == []
    scene.rate(20)
    first = scene.snapshot()
    answers = scene.store.answers.rated("bank")
    gone, changed = answers[0].message_id, answers[1].message_id
    scene.store.ratings.add(gone, "ann", DOWN)
    scene.store.ratings.add(changed, "ann", DOWN, correction="purple")
    scene.store.transfer.load("bank", [ImportedTurn("new", "Where is my card?", "Here.", UP)])
    second = scene.snapshot(min_train=2, min_gate=2)
    adapter = scene.store.adapters.add("bank-v2", "bank", scene.store.runs.all("bank")[0].id, "x", "y")
    listed = run(scene, "datasets").output.splitlines()
    assert len(listed) == 2 and adapter.name in listed[0] and "no adapter" in listed[1]
    assert first.hash[:12] in listed[1] and "train 20, dev 10, gate 10" in listed[1]
    versions = json.loads(run(scene, "datasets", "--json").output)
    assert [one["id"] for one in versions] == [second.id, first.id]
    for words in (("1", "2"), ("1",)):
        found = json.loads(run(scene, "datasets", *words, "--json").output)
        assert [c["rule"] for c in found["removed"]] == [DropReason.RATED_DOWN.value]
        assert [c["after"] for c in found["changed"]] == ["purple"] and len(found["added"]) == 1
    said = run(scene, "datasets", "1", "2").output
    assert "1 added, 1 removed, 1 with another answer" in said and "→ purple" in said
    wrong = run(scene, "datasets", "1", "7")
    assert wrong.exit_code == 2 and "There are: 1, 2" in wrong.output


def test_why_an_answer_was_left_out_goes_with_the_answer(store: Store) -> None:
    store.assistants.create("bank", "Bank", "exact")
    prompt = store.prompts.add("bank", [])
    store.transfer.load("bank", [ImportedTurn(f"c{n}", f"q {n}", "a", DOWN) for n in range(2)])
    ids = {a.conversation_id: a.message_id for a in store.answers.rated("bank")}
    rules = {**dict.fromkeys(ids.values(), "rated down"), "gone": "rated down"}
    frozen = store.datasets.add("bank", prompt.id, "hash", [], {"rated down": 2}, rules)
    assert store.datasets.left_out(frozen.id) == dict.fromkeys(ids.values(), "rated down")
    store.conversations.delete("c0")
    assert set(store.datasets.left_out(frozen.id)) == {ids["c1"]}


def test_decisions_change_what_would_be_learned(store: Store) -> None:
    store.assistants.create("desk", "Desk", "exact")
    store.prompts.add("desk", [Segment("a", SegmentKind.INSTRUCTION, text="Answer.")])
    turns = [
        ImportedTurn("c1", "When?", "At nine.", UP),
        ImportedTurn("c2", "when", "At ten.", UP),
        ImportedTurn("c3", "Where?", "Here.", DOWN),
        ImportedTurn("c4", "Dogs?", "No."),
    ]
    store.transfer.load("desk", turns)

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
