"""The loop's flow on a tiny model and a fake vLLM: every round, what fails, and what the report makes of it.

The trainer is the real one with small settings; once it runs in a process of its own, as the command does it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fake_vllm import FakeVllm
from retrain_scene import PROMPT, SETTINGS, served_greedily
from rich.console import Console
from typer.testing import CliRunner
from word_embedder import WordEmbedder

from assistant.assistants import create_assistant
from assistant.embedding import default_model
from assistant.serving import ServerAddress
from assistant.tokenizer import ChatTokenizer
from benchmarks import report, serving
from benchmarks.processes import RetrainFailed, run_trainer
from benchmarks.record import Screen
from benchmarks.serving import Serving
from benchmarks.tasks.measurement import in_other_words
from benchmarks.tasks.rounds import LoopSettings, Rounds
from benchmarks.tasks.task import Item, Task
from benchmarks.tasks.user import sample_of
from store import Store
from store.records import RunStatus, TrainingRun
from trainer.context import TrainingContext
from trainer.run import reevaluate, run_once

RATED, ROUNDS, TESTED = 120, 2, 12


def code(question: str) -> str:
    """The right answer to a question: like no other one, as the gate's guards expect."""
    return hashlib.sha256(question.encode()).hexdigest()[:8]


def items(kind: str, count: int) -> tuple[Item, ...]:
    texts = [f"Which code has {kind} {number}?" for number in range(count)]
    return tuple(
        Item(f"{kind}-{n}", text, (code(text), "or so", code(f"Which code has number {n}?")))
        for n, text in enumerate(texts)
    )


TASK = Task(
    name="Codes",
    source="made up",
    license="none",
    scorer="exact",
    prompt=PROMPT,
    train=items("number", 140),
    test=items("name", 30),
    left_out=0,
    sha256="0" * 64,
)
LOOP = LoopSettings(ratings=RATED, rounds=ROUNDS, test=TESTED, seed=0, corrects=0.9)


@dataclass
class Bench:
    """What a loop needs, without the app around it."""

    store: Store
    tokenizer: ChatTokenizer
    vllm: FakeVllm
    folder: Path

    @property
    def out(self) -> Path:
        return self.folder / "result.json"

    def question(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids).split("<|im_start|>user\n")[-1].split("<|im_end|>")[0]

    def run(self, task: Task = TASK, settings: LoopSettings = LOOP, margin: float = 0.3) -> dict[str, Any]:
        """With a margin that a gate of twenty answers can prove."""

        def run_trainer(
            assistant: str, words: Sequence[str], on_progress: Callable[[str], None]
        ) -> TrainingRun:
            context = TrainingContext.open(self.store, self.folder, replace(SETTINGS, margin=margin))
            again = words[0] == "reevaluate"
            return reevaluate(context, assistant) if again else run_once(context, assistant, words[2])

        rounds = Rounds(task, settings, self.out, {}, Screen(Console(quiet=True)))
        rounds.run(Serving(self.folder, self.store), run_trainer)
        return dict(json.loads(self.out.read_text()))

    def asked(self, streamed: bool) -> Counter[tuple[str, str, int]]:
        """Model, question and prompt length of the requests: streamed ones are chat, the others measure or gate."""
        bodies = [b for b in self.vllm.asked() if not b.get("logprobs") and b["max_tokens"] > 1]
        return Counter(
            (b["model"], self.question(b["prompt"]), len(b["prompt"]))
            for b in bodies
            if b.get("stream", False) is streamed
        )


@pytest.fixture
def bench(
    store: Store,
    tokenizer: ChatTokenizer,
    tiny_model: Path,
    vllm: FakeVllm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Bench:
    monkeypatch.setattr(serving, "_POLL_S", 0.01)
    ServerAddress((vllm.url,), None, str(tiny_model), 2048, str(default_model()), 256).write(tmp_path)
    (tmp_path / "adapters").mkdir()
    made = Bench(store, tokenizer, vllm, tmp_path)

    def answer(model: str, ids: Sequence[int]) -> str:
        """The base model is right now and then, adapters always."""
        question = made.question(ids)
        return code(question) if model != "base" or int(code(question), 16) % 3 else "no idea"

    vllm.answer = answer
    vllm.greedy = served_greedily(tiny_model, vllm)
    return made


def test_a_whole_loop_measures_every_round(bench: Bench) -> None:
    body = bench.run()

    assert body["finished"] and "simulated" in body["ratings_are"]
    before, first, second = body["rounds"]
    assert [before["ratings"], first["ratings"], second["ratings"]] == [0, 60, 120]
    assert "run" not in before and before["quality"]["active"] == before["quality"]["base_full"]
    assert first["run"]["status"] == "promoted", first["run"]["message"]
    assert first["run"]["gate"]["variants"] and first["run"]["training"]
    assert first["active"]["adapter"] == first["run"]["adapter"] and first["active"]["segment_ids"] == ["law"]
    assert first["prompt_tokens"]["active"] < first["prompt_tokens"]["full"]
    assert 0 < first["prompt_tokens"]["cut"] < 1
    assert first["prompt_tokens"]["request_active"] < first["prompt_tokens"]["request_full"]
    assert first["quality"]["active"]["mean"] == first["quality"]["candidate_full"]["mean"] == 1.0
    assert before["quality"]["base_full"]["mean"] == first["quality"]["base_full"]["mean"] < 1
    assert {"base_demonstrations", "nearest_copied", "candidate_empty"} < first["quality"].keys()
    assert first["differences"]["active - base_full"]["mean"] > 0
    assert first["differences"]["active - candidate_full"]["mean"] == 0
    assert first["performance_index"] is None and "no index" in first["performance_index_note"]
    assert before["first_token"] is None and first["first_token"]["short"]["cold"]["n"] == 5
    # What was approved after the first retrain is sent along until the second one has learned it.
    assert second["run"]["status"] == "promoted" and second["quality"]["candidate_full"]["mean"] == 1.0
    assert first["quality"]["candidate_variant"] == first["quality"]["active"]
    assert "candidate_variant" in second["quality"]
    assert second["active"]["segment_ids"] == ["law"] and second["first_token"]
    assert before["corrections"] is None
    for after in (first, second):
        assert after["corrections"]["asked"] == after["corrections"]["right"] > 0
    asked = first["asked"]
    assert asked["rated_up"] + asked["corrected"] + asked["rated_down_only"] == 60 and not asked["failed"]
    assert first["approved"] == asked["rated_up"] + asked["corrected"]
    assert {"round 0: measure", "round 1: ask", "round 1: train"} <= body["seconds"].keys()
    assert not bench.vllm.adapters, "nothing stays on a server that goes on"
    _test_questions_are_measured_once_a_pair_and_never_chatted(bench, body)
    _the_report_has_a_table_and_a_picture(bench)


def _test_questions_are_measured_once_a_pair_and_never_chatted(bench: Bench, body: dict[str, Any]) -> None:
    questions = {item.user for item in sample_of(TASK.test, TESTED, 0)}
    assert len(body["test_ids"]) == TESTED
    assert not questions & {question for _, question, _ in bench.asked(streamed=True)}
    measured = {key: n for key, n in bench.asked(streamed=False).items() if key[1] in questions}
    # Twice where no approved answer is near enough, so that a pair is served as it is without any.
    assert set(measured.values()) <= {1, 2}
    pairs = Counter((r["adapter"], *r["segment_ids"], r["demonstrations"]) for r in body["measurements"])
    assert all(n == 1 or pair[-1] or pair[:2] == (pair[0], "law") for pair, n in pairs.items()), pairs
    trained = {
        e.context[0][1] for run in bench.store.runs.all(body["assistant_id"]) for e in dataset(bench, run)
    }
    assert trained and not trained & {item.user for item in TASK.test}


def _the_report_has_a_table_and_a_picture(bench: Bench) -> None:
    out = bench.folder / "report"
    done = CliRunner().invoke(report.app, [str(bench.out), str(bench.out), "--out-dir", str(out)])
    assert done.exit_code == 0, done.output
    page = (out / "loop.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| Codes")]
    assert len(rows) == 2 * 3 and "promoted" in rows[1] and "promoted" in rows[2]
    assert {line.count("|") for line in page.splitlines() if line.startswith("|")} == {14}
    assert "Corrected questions, asked again in other words: " in page
    assert "simulated" in page and "less than 30 points worse" in page and "not finished" not in page
    picture = (out / "loop.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 20_000


def dataset(bench: Bench, run: TrainingRun) -> Any:
    return bench.store.datasets.get(run.dataset_id).examples if run.dataset_id else ()


def test_a_question_that_cannot_be_asked_is_counted_and_skipped(bench: Bench) -> None:
    long = replace(TASK.train[0], id="long", user="word " * 5000)
    task = replace(TASK, train=(long, *TASK.train[:29]))
    test = replace(TASK.test[0], id="too-long", user="word " * 3000)
    task = replace(task, test=(test, *TASK.test[:9]))
    body = bench.run(task, replace(LOOP, ratings=30, rounds=1, test=10))
    first = body["rounds"][1]
    assert (
        list(first["asked"]["failed"]) == ["long"] and "25,000 characters" in first["asked"]["failed"]["long"]
    )
    assert first["ratings"] == 29
    quality = first["quality"]["base_full"]
    assert quality["n"] == 9 and quality["failed"] == 1
    assert first["run"]["status"] == "not enough" and "candidate_full" not in first["quality"]


def test_the_real_trainer_runs_in_a_process_of_its_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    create_assistant(bench.store, bench.tokenizer, "Codes", "exact", TASK.prompt, assistant_id="codes")
    notes: list[str] = []
    words = ["once", "--trigger", "round 1", "--epochs", "9"]
    run = run_trainer(bench.store, bench.folder, "codes", words, notes.append)
    assert run.status is RunStatus.NOT_ENOUGH and run.trigger == "round 1" and run.settings["epochs"] == 9
    monkeypatch.setattr("sys.executable", "false")
    with pytest.raises(RetrainFailed, match="status 1 before it began"):
        run_trainer(bench.store, bench.folder, "codes", words, notes.append)


def test_a_candidate_that_says_it_in_other_words_is_judged_and_evaluated_again(bench: Bench) -> None:
    """The person accepts them; each decision costs one of the ratings."""

    def answer(model: str, ids: list[int]) -> str:
        right = code(bench.question(ids))
        return right if model == "base" or not int(right, 16) % 3 else f"{right} it is"

    bench.vllm.answer = answer
    body = bench.run(replace(TASK, scorer="chrf"), replace(LOOP, rounds=1), margin=0.1)
    (_, record) = body["rounds"]
    assert record["run"]["status"] == "refused", record["run"]["message"]
    assert record["judged"]["accepted"] == record["judged"]["asked"] > 3
    assert record["reevaluation"]["status"] == "promoted", record["reevaluation"]["message"]
    assert record["active"]["adapter"] == record["run"]["adapter"] == record["reevaluation"]["adapter"]
    assert RATED - 40 <= record["ratings"] <= RATED
    assert record["prompt_tokens"]["active"] < record["prompt_tokens"]["full"]


def test_a_corrected_question_is_asked_again_in_the_words_that_are_most_like_it() -> None:
    asked = [
        Item("far", "Is there a shop near the harbour", ("by foot",)),
        Item("near", "How do I come to the harbour today", ("by tram", "by foot")),
        Item("other", "How do I come to the harbour", ("by bus",)),
    ]
    corrected = [("How do I come to the harbour?", "by foot"), ("Who is there?", "nobody")]
    assert in_other_words(WordEmbedder(), corrected, asked) == [asked[1]]
    assert in_other_words(WordEmbedder(), [], asked) == in_other_words(WordEmbedder(), corrected, []) == []
