"""The loop's flow on a tiny model and a fake vLLM: every round, resuming, what fails, and what the report makes of it.

The trainer is the real one with small settings; once it runs in a process of its own, as the command does it.
"""

import asyncio
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fake_vllm import FakeVllm
from retrain_scene import SETTINGS, served_greedily
from rich.console import Console
from typer.testing import CliRunner

from assistant.assistants import create_assistant
from assistant.serving import ServerAddress
from assistant.tokenizer import ChatTokenizer
from benchmarks import loop, report
from benchmarks.record import ResultError, read
from benchmarks.screen import Screen
from benchmarks.tasks import serving
from benchmarks.tasks.result import LoopSettings, Result
from benchmarks.tasks.retrain import RetrainFailed, retrain
from benchmarks.tasks.rounds import Rounds
from benchmarks.tasks.serving import Serving
from benchmarks.tasks.task import Item, Task
from benchmarks.tasks.user import RATER, sample_of
from store import Store
from store.records import Message, MessageStatus, Role, RunStatus, Segment, SegmentKind, TrainingRun
from trainer.context import TrainingContext
from trainer.run import reevaluate, run_once

RATED, ROUNDS, TESTED = 130, 2, 12


def code(question: str) -> str:
    """The right answer to a question: like no other one, as the gate's guards expect."""
    return hashlib.sha256(question.encode()).hexdigest()[:8]


def items(kind: str, count: int) -> tuple[Item, ...]:
    texts = [f"Which code has {kind} {number}?" for number in range(count)]
    return tuple(Item(f"{kind}-{n}", text, (code(text), "or so")) for n, text in enumerate(texts))


TASK = Task(
    name="Codes",
    source="made up",
    license="none",
    scorer="exact",
    prompt=(
        Segment("law", SegmentKind.INSTRUCTION, text="Answer with one word.", protected=True),
        Segment("role", SegmentKind.INSTRUCTION, text="You are a helpful AI assistant."),
        Segment("france", SegmentKind.EXAMPLE, user="The capital of France?", assistant="Paris."),
    ),
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

    def train(
        self, assistant: str, trigger: str, note: Callable[[str], None], margin: float = 0.3
    ) -> TrainingRun:
        """With a margin that a gate of twenty answers can prove."""
        settings = replace(SETTINGS, margin=margin)
        return run_once(TrainingContext.open(self.store, self.folder, settings), assistant, trigger)

    def reevaluate(self, assistant: str, note: Callable[[str], None]) -> TrainingRun | None:
        return reevaluate(TrainingContext.open(self.store, self.folder, SETTINGS), assistant)

    def walk(self, task: Task = TASK, settings: LoopSettings = LOOP, train: Any = None) -> dict[str, Any]:
        result = Result.open(self.out, task, settings, sample_of(task.test, settings.test, settings.seed))
        screen = Screen(Console(quiet=True))
        served = Serving(self.folder, self.store)
        Rounds(task, settings, result, served, train or self.train, self.reevaluate, screen).run()
        return read(self.out, "loop")

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
    monkeypatch.setattr(serving, "_LOOK_S", 0.01)
    ServerAddress((vllm.url,), None, str(tiny_model), 2048).write(tmp_path)
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
    body = bench.walk()

    assert body["finished"] and "simulated" in body["ratings_are"]
    before, first, second = body["rounds"]
    assert [before["ratings"], first["ratings"], second["ratings"]] == [0, 65, 130]
    assert "run" not in before and before["quality"]["active"] == before["quality"]["base_full"]
    assert first["run"]["status"] == "promoted", first["run"]["message"]
    assert first["run"]["gate"]["variants"] and first["run"]["training"]
    assert first["active"]["adapter"] == first["run"]["adapter"] and first["active"]["segment_ids"] == ["law"]
    assert first["prompt_tokens"]["active"] < first["prompt_tokens"]["full"]
    assert 0 < first["prompt_tokens"]["cut"] < 1
    assert first["prompt_tokens"]["request_active"] < first["prompt_tokens"]["request_full"]
    assert first["quality"]["active"]["mean"] == first["quality"]["candidate_full"]["mean"] == 1.0
    assert first["quality"]["base_variant"]["mean"] == before["quality"]["base_full"]["mean"] < 1
    assert first["differences"]["active - base_full"]["mean"] > 0
    assert first["differences"]["active - candidate_full"]["mean"] == 0
    assert first["performance_index"] is None and "no index" in first["performance_index_note"]
    assert before["first_token"] is None and first["first_token"]["short"]["cold"]["n"] == 5
    assert second["run"]["status"] == "refused" and second["quality"]["candidate_full"]["mean"] == 1.0
    assert first["quality"]["candidate_variant"] == first["quality"]["active"]
    assert "candidate_variant" in second["quality"]
    assert second["active"] == first["active"] and second["first_token"]
    asked = first["asked"]
    assert asked["rated_up"] + asked["corrected"] + asked["rated_down_only"] == 65 and not asked["failed"]
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
    assert set(measured.values()) == {1}
    pairs = {(row["adapter"], tuple(row["segment_ids"])) for row in body["measurements"]}
    assert len(pairs) == len(body["measurements"]) == 7
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
    assert len(rows) == 2 * 3 and "promoted" in rows[1] and "refused" in rows[2]
    assert {line.count("|") for line in page.splitlines() if line.startswith("|")} == {12}
    assert "simulated" in page and "Nothing is gained" in page and "not finished" not in page
    picture = (out / "loop.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 20_000


def dataset(bench: Bench, run: TrainingRun) -> Any:
    return bench.store.datasets.get(run.dataset_id).examples if run.dataset_id else ()


def test_a_loop_that_was_stopped_goes_on_without_asking_again(bench: Bench) -> None:
    def stop(*_: Any) -> TrainingRun:
        raise KeyboardInterrupt

    once = replace(LOOP, ratings=30, rounds=1)  # too few to train on, which is a result too
    with pytest.raises(KeyboardInterrupt):
        bench.walk(settings=once, train=stop)
    body = read(bench.out, "loop")
    assert len(body["rounds"]) == 1 and not body["finished"] and "round 1: ask" in body["seconds"]
    assert len(bench.asked(streamed=True)) == 30
    conversation = bench.store.conversations.all(body["assistant_id"])[0]
    question = bench.store.messages.thread(conversation.id)[0]
    half = cut_off(bench, conversation.id, question)

    finished = bench.walk(settings=once)
    assert finished["assistant_id"] == body["assistant_id"] and finished["rounds"][0] == body["rounds"][0]
    asked = bench.asked(streamed=True)
    assert {key[1]: n for key, n in asked.items() if n > 1} == {question.text: 2}
    assert finished["rounds"][1]["ratings"] == 30 and not bench.store.ratings.all(half)
    assert bench.store.messages.thread(conversation.id)[-1].status is MessageStatus.COMPLETE
    ratings = [a.ratings for a in bench.store.answers.rated(body["assistant_id"])]
    assert len(ratings) == 30 and all([r.rater for r in given] == [RATER] for given in ratings)


def cut_off(bench: Bench, id: str, question: Message) -> str:
    """The conversation as Ctrl-C leaves it while the answer streams; the id of what there is of the answer."""
    assistant_id = bench.store.conversations.get(id).assistant_id
    bench.store.conversations.delete(id)
    bench.store.conversations.create(assistant_id, id=id)
    asked = bench.store.messages.add(id, None, Role.USER, question.text)
    half = bench.store.messages.add(id, asked.id, Role.ASSISTANT, "", MessageStatus.STREAMING)
    bench.store.messages.finish(half.id, "no", MessageStatus.STOPPED)
    return half.id


def test_a_question_that_cannot_be_asked_is_counted_and_skipped(bench: Bench) -> None:
    long = replace(TASK.train[0], id="long", user="word " * 5000)
    task = replace(TASK, train=(long, *TASK.train[:29]))
    test = replace(TASK.test[0], id="too-long", user="word " * 3000)
    task = replace(task, test=(test, *TASK.test[:9]))
    body = bench.walk(task, replace(LOOP, ratings=30, rounds=1, test=10))
    first = body["rounds"][1]
    assert (
        list(first["asked"]["failed"]) == ["long"] and "25,000 characters" in first["asked"]["failed"]["long"]
    )
    assert first["ratings"] == 29
    quality = first["quality"]["base_full"]
    assert quality["n"] == 9 and quality["failed"] == 1
    assert first["run"]["status"] == "not enough" and "candidate_full" not in first["quality"]


def test_a_server_that_fails_for_a_while_does_not_end_the_loop(bench: Bench) -> None:
    honest, failures = bench.vllm.answer, iter(range(3))

    def stumble(model: str, ids: Sequence[int]) -> str:
        bench.vllm.fails_with = 500 if next(failures, None) is not None else None
        return honest(model, ids)

    bench.vllm.answer = stumble

    async def mend() -> None:
        while True:
            await asyncio.sleep(0.02)
            bench.vllm.fails_with = None

    threading.Thread(target=lambda: asyncio.run(mend()), daemon=True).start()
    body = bench.walk(settings=replace(LOOP, ratings=20, rounds=1))
    assert body["finished"] and body["rounds"][1]["ratings"] == 20


def test_a_result_of_other_settings_is_refused(bench: Bench) -> None:
    sample = sample_of(TASK.test, TESTED, 0)
    Result.open(bench.out, TASK, LOOP, sample)
    assert Result.open(bench.out, TASK, LOOP, sample).assistant_id == read(bench.out, "loop")["assistant_id"]
    with pytest.raises(ResultError, match="ratings 130, now 200.*another --out"):
        Result.open(bench.out, TASK, replace(LOOP, ratings=200), sample)
    with pytest.raises(ResultError, match="sha256"):
        Result.open(bench.out, replace(TASK, sha256="1" * 64), LOOP, sample)
    bench.out.write_text('{"benchmark": "other"}')
    with pytest.raises(ResultError, match="is not a result"):
        Result.open(bench.out, TASK, LOOP, sample)
    assert [path.name for path in bench.folder.glob(".result*")] == []


def test_the_real_trainer_runs_in_a_process_of_its_own(bench: Bench) -> None:
    create_assistant(bench.store, bench.tokenizer, "Codes", "exact", TASK.prompt, assistant_id="codes")
    notes: list[str] = []
    run = retrain(bench.store, bench.folder, "codes", "round 1", ["--epochs", "9"], notes.append)
    assert run.status is RunStatus.NOT_ENOUGH and run.trigger == "round 1" and run.settings["epochs"] == 9
    assert retrain(bench.store, bench.folder, "codes", "round 1", [], notes.append) == run
    with pytest.raises(RetrainFailed, match="(?s)before it began.*No such option"):
        retrain(bench.store, bench.folder, "codes", "round 2", ["--no-such-option"], notes.append)


def test_a_report_of_nothing_says_so(tmp_path: Path) -> None:
    empty = tmp_path / "result.json"
    Result.open(empty, TASK, LOOP, [])
    for path, says in ((empty, "has no round yet"), (tmp_path / "none.json", "cannot be read")):
        done = CliRunner().invoke(report.app, [str(path)])
        assert done.exit_code == 2 and says in done.output.replace("\n", " ")


def test_the_command_says_what_is_wrong_and_when_it_is_done(tmp_path: Path) -> None:
    task = tmp_path / "task.json"
    task.write_text("{}")
    out = tmp_path / "out.json"
    done = CliRunner().invoke(loop.app, ["--task", str(task), "--out", str(out)])
    assert done.exit_code == 2 and "missing required field" in done.output and not out.exists()
    rows = [{"id": n, "user": f"{n}?", "references": ["x"]} for n in range(4)]
    body = {"name": "t", "scorer": "exact", "train": rows[:2], "test": rows[2:]}
    task.write_text(json.dumps(body | {"prompt": [{"kind": "instruction", "text": "x"}]}))
    loaded = loop.load(task)
    result = Result.open(out, loaded, LoopSettings(5, 1, 2, 0, 0.75), sample_of(loaded.test, 2, 0))
    result.body["finished"] = True
    result.save()
    options = ["--task", str(task), "--out", str(out), "--ratings", "5", "--rounds", "1", "--test", "2"]
    done = CliRunner().invoke(loop.app, options)
    assert done.exit_code == 0 and "Finished already" in done.output


def test_a_candidate_that_says_it_in_other_words_is_judged_and_evaluated_again(bench: Bench) -> None:
    """The person accepts them; each decision costs one of the ratings."""

    def answer(model: str, ids: list[int]) -> str:
        right = code(bench.question(ids))
        return right if model == "base" or not int(right, 16) % 3 else f"{right} it is"

    bench.vllm.answer = answer
    body = bench.walk(replace(TASK, scorer="chrf"), replace(LOOP, rounds=1), partial(bench.train, margin=0.1))
    (_, record) = body["rounds"]
    assert record["run"]["status"] == "refused", record["run"]["message"]
    assert record["judged"]["accepted"] == record["judged"]["asked"] > 3
    assert record["reevaluation"]["status"] == "promoted", record["reevaluation"]["message"]
    assert record["active"]["adapter"] == record["run"]["adapter"] == record["reevaluation"]["adapter"]
    assert RATED - 40 <= record["ratings"] <= RATED
    assert record["prompt_tokens"]["active"] < record["prompt_tokens"]["full"]
