"""Whole retrains of a tiny model against a fake vLLM: every way that a run can end, and what is left behind."""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from imported_turns import ImportedTurn, load_turns
from retrain_scene import PROMPT, SETTINGS, Scene, colour

from assistant.serving import NoServer
from store import Store
from store.errors import NotSaved
from store.lock import TRAINING, Lock, LockTaken
from store.records import DeploymentStatus, MessageStatus, Role, RunStatus, Split, Verdict
from store.runs import Runs
from trainer import candidate
from trainer import run as running
from trainer.context import TrainingContext
from trainer.evaluation.guards import QUESTIONS
from trainer.examples.deduplicate import split_of
from trainer.report import table


def test_a_good_candidate_is_promoted_with_a_shorter_prompt(scene: Scene) -> None:
    scene.rate(60)
    before = scene.store.deployments.active("bank")

    run = scene.run()

    assert run.status is RunStatus.PROMOTED, run.message
    active = scene.store.deployments.active("bank")
    assert before is not None and active is not None
    assert active.adapter == run.adapter == "bank-v0001" and active.run_id == run.id
    assert active.segment_ids == ("law",) and active.prompt_tokens < before.prompt_tokens
    assert list(scene.vllm.adapters) == ["bank-v0001"]
    assert (scene.context.adapters / "bank-v0001" / "manifest.json").exists()
    gate, probed = run.report["gate"], run.report["probe"]
    tally = scene.store.gate_answers.tally(run.id, gate["shown"], "base_full")
    assert tally.asked == 30 and not tally.worse, "what the gate asked can be read"
    assert tally.better / 30 == pytest.approx(1.0 - gate["scores"]["base_full"]["mean"])
    assert gate["promoted"] and gate["examples"] == 30 and run.report["after"]["quality"]["mean"] == 1.0
    assert gate["scores"]["base_full"]["mean"] < 1.0
    assert run.report["after"]["prompt_tokens"] == active.prompt_tokens
    # With the full prompt approved answers to nearly the same question were sent: at most two.
    assert run.report["before"]["prompt_tokens"] - before.prompt_tokens in range(1, 2 * 30)
    assert set(probed) == {"full", "short"} and probed["short"]["cold"]["n"] == 5
    dataset = scene.store.datasets.get(run.dataset_id)
    assert run.report["dataset"]["hash"] == dataset.hash and len(dataset.examples) == 120
    phases = {event.phase for event in scene.store.runs.events(run.id)}
    takes_a_moment = {"variants", "probe"}  # and is told of once it has taken half a second
    assert phases - takes_a_moment == {"dataset", "environment", "train", "publish", "gate", "swap"}
    assert run.report["training"]["dev_loss"] < run.report["training"]["first_dev_loss"]
    assert run.report["gate"]["variants"] and table([run]).row_count == 1


def test_a_run_that_diverges_has_failed_and_says_what_to_do(scene: Scene) -> None:
    scene.rate(40)
    run = scene.run(learning_rate=1e30)
    assert run.status is RunStatus.FAILED and "Lower the learning rate" in run.message


@pytest.fixture
def longer_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """On dev, so that the gate tests every variant: what the tiny model learns says nothing about the fake's
    answers."""
    monkeypatch.setattr(
        "trainer.candidate.measure_loss",
        lambda _model, _tok, prompt, _dev, shown: 1.0 + 0.2 * (2 * (3 - len(prompt)) + (not shown)),
    )


@pytest.mark.usefixtures("longer_is_better")
def test_no_gate_answer_is_ever_trained_on(scene: Scene) -> None:
    scene.rate(40)
    run = scene.run()
    dataset = scene.store.datasets.get(run.dataset_id)
    questions = {split: {e.context[0][1] for e in dataset.examples if e.split is split} for split in Split}
    assert not questions[Split.TRAIN] & questions[Split.GATE]
    asked = {scene.question(body["prompt"]) for body in scene.vllm.asked() if body["max_tokens"] == 16}
    assert asked == questions[Split.GATE] | set(QUESTIONS)


def test_people_who_chat_go_before_the_gate(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an answer is being written, one request of the gate's is admitted every now and then."""
    scene.rate(40)
    monkeypatch.setattr("assistant.vllm_pool._POLL_S", 0.001)
    monkeypatch.setattr("assistant.vllm_pool._LONGEST_WAIT_S", 0.01)
    at_once: list[int] = []

    def answer(model: str, ids: Sequence[int]) -> str:
        at_once.append(scene.vllm.in_flight)
        return "grey"

    scene.vllm.answer = answer
    question = scene.store.conversations.start("bank", "Hello?")
    scene.store.messages.add(
        question.conversation_id, question.id, Role.ASSISTANT, "", status=MessageStatus.STREAMING
    )
    scene.run()
    assert len(at_once) >= 40 and max(at_once) == 1


@pytest.mark.usefixtures("longer_is_better")
def test_a_bad_candidate_is_refused_rejected_and_unloaded(scene: Scene) -> None:
    scene.rate(40)
    before = scene.store.deployments.active("bank")
    scene.vllm.answer = lambda model, ids: colour(scene.question(ids)) if model == "base" else "grey"

    run = scene.run()

    assert run.status is RunStatus.REFUSED
    assert run.message.startswith("The prompt of ") and "-100.0 points" in run.message
    assert scene.store.deployments.active("bank") == before
    (rejected,) = [d for d in scene.store.deployments.all("bank") if d.adapter == run.adapter]
    assert rejected.status is DeploymentStatus.REJECTED and rejected.reason == run.message
    assert not scene.vllm.adapters
    assert not run.report["gate"]["promoted"] and "probe" not in run.report


def test_a_variant_that_does_worse_on_dev_than_a_shorter_one_is_not_tested(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.rate(60)
    monkeypatch.setattr(
        "trainer.candidate.measure_loss",
        lambda _model, _tok, prompt, _dev, shown: 1.0 if len(prompt) == 1 and not shown else 2.0,
    )
    run = scene.run()
    assert run.status is RunStatus.PROMOTED, run.message
    assert [variant["tested"] for variant in run.report["gate"]["variants"]] == [False, False, True]
    systems = {body["model"] for body in scene.vllm.asked() if len(body["prompt"]) > 60}
    assert systems == {"base"}, "nothing is asked under the full prompt that nobody would be served"


@pytest.mark.usefixtures("longer_is_better")
def test_what_fails_with_the_short_prompt_is_served_with_a_longer_one(scene: Scene) -> None:
    scene.rate(60)

    def needs_its_role(model: str, ids: Sequence[int]) -> str:
        helpful = "helpful" in scene.tokenizer.decode(ids)
        return colour(scene.question(ids)) if model == "base" or helpful else "grey"

    scene.vllm.answer = needs_its_role
    run = scene.run()
    assert run.status is RunStatus.PROMOTED, run.message
    active = scene.store.deployments.active("bank")
    assert active is not None and active.segment_ids == ("law", "role")


def test_a_second_run_builds_on_the_first_and_gains_nothing(scene: Scene) -> None:
    scene.rate(60)
    assert scene.run().status is RunStatus.PROMOTED
    again = scene.run()
    assert again.status is RunStatus.REFUSED and "Nothing is gained" in again.message
    assert "active" in again.report["gate"]["scores"]
    assert list(scene.vllm.adapters) == ["bank-v0001"]


@pytest.mark.parametrize("count", [0, 4])
def test_too_few_answers_are_not_enough_and_cost_nothing(scene: Scene, count: int) -> None:
    scene.rate(count)
    run = scene.run()
    assert run.status is RunStatus.NOT_ENOUGH and run.message.startswith("Not enough yet: about ")
    assert run.dataset_id is None and not scene.vllm.requests


def test_a_second_trainer_is_told(scene: Scene) -> None:
    with Lock(scene.context.data_dir, TRAINING), pytest.raises(LockTaken, match="Another trainer"):
        scene.run()
    assert not scene.store.runs.all("bank")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"greedy": lambda model, ids, count: [(5, -20.0)] * count}, "log-probabilities"),
        ({"max_loras": 0}, "slots are in use"),
        ({"fails_with": 500}, "500"),
    ],
    ids=["other numbers", "no slot", "fails"],
)
def test_a_server_that_misbehaves_fails_the_run_and_swaps_nothing(
    scene: Scene, fault: dict[str, Any], words: str
) -> None:
    scene.rate(40)
    before = scene.store.deployments.active("bank")
    vars(scene.vllm).update(fault)
    run = scene.run()
    assert run.status is RunStatus.FAILED and words in run.message
    assert scene.store.deployments.active("bank") == before and not scene.vllm.adapters


def test_a_swap_that_happened_is_told_even_where_its_measurement_failed(scene: Scene) -> None:
    scene.rate(60)
    honest = scene.vllm.answer

    def fail_after_the_swap(model: str, ids: Sequence[int]) -> str:
        active = scene.store.deployments.active("bank")
        scene.vllm.fails_with = 500 if active is not None and active.adapter else None
        return honest(model, ids)

    scene.vllm.answer = fail_after_the_swap
    run = scene.run()
    active = scene.store.deployments.active("bank")
    assert active is not None and active.adapter == run.adapter
    assert run.status is RunStatus.PROMOTED and run.report["gate"]["promoted"]


def test_a_prompt_that_was_edited_during_the_run_wins(scene: Scene) -> None:
    """The candidate belongs to the old prompt: it must not replace what a person has just written."""
    from assistant.assistants import save_prompt

    scene.rate(60)
    honest, edited = scene.vllm.answer, []

    def edit(model: str, ids: Sequence[int]) -> str:
        if not edited:
            edited.append(save_prompt(scene.store, scene.tokenizer, "bank", PROMPT[:2]))
        return honest(model, ids)

    scene.vllm.answer = edit
    run = scene.run()
    assert run.status is not RunStatus.PROMOTED
    assert scene.store.deployments.active("bank") == edited[0]
    assert not scene.vllm.adapters, "what is not served does not keep a slot"


def test_one_conversation_that_outgrows_the_context_does_not_fail_every_run(scene: Scene) -> None:
    """Chat leaves out the oldest turns of a long conversation; training and gate must do the same."""
    scene.rate(60)
    number = next(n for n in range(100) if split_of(f"Long story {n}") is Split.GATE)
    turns = [ImportedTurn("long", f"Long story {number}", "word " * 150)]
    turns += [ImportedTurn("long", f"More {n} " + "word " * 150, "word " * 150) for n in range(8)]
    turns += [ImportedTurn("long", "Which colour has number 1?", "red", Verdict.UP)]
    load_turns(scene.store, "bank", turns)
    run = scene.run()
    assert run.status is RunStatus.PROMOTED, run.message


def test_a_disk_that_the_run_itself_has_filled_is_told_and_freed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.rate(40)
    work = scene.context.data_dir / "runs"
    save, refused = Runs.finish, []

    def finish(runs: Runs, *values: Any) -> Any:
        if filling := list(work.rglob("checkpoint-*")):
            refused.append(filling)
            raise NotSaved("Nothing was saved: the disk is full.")
        return save(runs, *values)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Runs, "finish", finish)
    monkeypatch.setattr(candidate, "publish_run", full)
    run = scene.run()
    assert len(refused) == 1 and run.status is RunStatus.FAILED and "No space left" in run.message
    assert not list(work.iterdir())


def test_a_fault_of_this_program_is_kept_and_raised(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.rate(40)

    def fault(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(running, "train_candidate", fault)
    with pytest.raises(ZeroDivisionError):
        scene.run()
    assert scene.store.runs.all("bank")[0].message == "ZeroDivisionError: a fault"


def test_without_an_app_there_is_nothing_to_train_for(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NoServer, match="Start the app there first"):
        TrainingContext.open(store, tmp_path, SETTINGS)
