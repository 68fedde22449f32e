"""The first cut: the base model with approved answers and a shorter prompt goes through the gate before a training."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from retrain_scene import PROMPT, Scene, colour, hash_of

from assistant.assistants import save_prompt
from assistant.rendering import prompt_tokens
from store.records import DeploymentStatus, RunStatus, Segment, SegmentKind, Split, TrainingRun
from store.runs import Runs
from trainer.candidate import is_worth_trying
from trainer.evaluation.guards import QUESTIONS
from trainer.examples.deduplicate import position_of


@pytest.fixture
def first(scene: Scene) -> Scene:
    """Nobody has trained or shortened anything yet."""
    example = Segment("long", SegmentKind.EXAMPLE, user="Count!", assistant="one two three four " * 40)
    save_prompt(scene.store, scene.tokenizer, "bank", (*PROMPT, example))
    scene.rate(60)
    return scene


def right_with_demonstrations(scene: Scene, adapters: str = "grey") -> None:
    """The base model is right three times in four, and always with approved answers before the question."""

    def answer(model: str, ids: Sequence[int]) -> str:
        question = scene.question(ids)
        shown = scene.tokenizer.decode(ids).count("<|im_start|>user") > 2
        if model != "base":
            return adapters or colour(question)
        return colour(question) if shown or hash_of(question) % 4 else "grey"

    scene.vllm.answer = answer


def gate_requests(scene: Scene, questions: set[str]) -> list[str]:
    """The requests of the gate, as text."""
    return [
        scene.tokenizer.decode(body["prompt"])
        for body in scene.vllm.asked()
        if scene.question(body["prompt"]) in questions and body["max_tokens"] == 16
    ]


def test_the_base_model_with_approved_answers_is_served_before_anything_is_trained(
    first: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    right_with_demonstrations(first)
    before = first.store.deployments.active("bank")
    served: list[tuple[str | None, int, int]] = []
    train = Runs.start

    def start(self: Runs, *given: Any) -> TrainingRun:
        active = first.store.deployments.active("bank")
        assert active is not None
        served.append((active.adapter, active.demonstrations, len(active.segment_ids)))
        return train(self, *given)

    monkeypatch.setattr(Runs, "start", start)
    last = first.run()

    assert served == [(None, 0, 4), (None, 5, 1)], "when the run that trains begins, it is served already"
    second, run = first.store.runs.all("bank")
    assert run.status is RunStatus.PROMOTED and run.message.startswith("Without training: "), run.message
    assert second.id == last.id and second.trigger == "test" and second.status is RunStatus.REFUSED
    active = first.store.deployments.active("bank")
    assert before is not None and active is not None and active.run_id == run.id
    assert (active.adapter, active.demonstrations, active.segment_ids) == (None, 5, ("law",))
    assert active.prompt_tokens == run.report["after"]["prompt_tokens"]
    assert run.adapter is None and not run.report.get("training")
    assert first.store.deployments.get(before.id).status is DeploymentStatus.RETIRED
    # What it has to beat is asked as it serves: with other answers than the half that it was proven with.
    assert second.report["before"]["prompt_tokens"] == pytest.approx(active.prompt_tokens, abs=5)
    assert second.report["gate"]["confidence"] == 0.975 and run.report["gate"]["confidence"] == 0.95
    assert not is_worth_trying(first.context, "bank")


def test_where_nothing_is_trained_half_of_the_answers_prove_the_other_half(first: Scene) -> None:
    right_with_demonstrations(first, adapters="")
    first.run(margin=0.15)  # 30 questions without a mistake prove 10 points at 95 %, and not at 97.5 %
    second, run = first.store.runs.all("bank")
    tried, trained = (first.store.datasets.get(one.dataset_id or 0).examples for one in (run, second))
    assert {e.message_id for e in tried} == {e.message_id for e in trained}
    splits = {e.message_id: e.split for e in first.store.datasets.get(second.dataset_id or 0).examples}
    assert {e.split for e in tried if splits[e.message_id] is Split.DEV} == {Split.DEV}
    halves = Counter((e.split, position_of(e.context[0][1]) < 0.5) for e in tried if e.split is not Split.DEV)
    assert halves == {(Split.GATE, True): 30, (Split.TRAIN, False): 60}
    questions = {e.context[-1][1]: e.completion for e in tried if e.split is Split.GATE}
    shown = [text for text in gate_requests(first, set(questions)) if "capital of France" not in text]
    assert shown and not any(
        f"{other}<|im_end|>" in text for text in shown for other in questions if other not in text
    )
    assert second.status is RunStatus.PROMOTED and second.adapter == "bank-v0002", second.message


def test_what_is_refused_without_training_is_trained(first: Scene) -> None:
    def answer(model: str, ids: Sequence[int]) -> str:
        question = first.question(ids)
        has_prompt = model != "base" or "one two three" in first.tokenizer.decode(ids)
        return colour(question) if has_prompt or question in QUESTIONS else "grey"

    first.vllm.answer = answer
    last = first.run()
    second, run = first.store.runs.all("bank")
    assert run.status is RunStatus.REFUSED and " failed: " in run.message
    (rejected,) = [one for one in first.store.deployments.all("bank") if one.run_id == run.id]
    assert rejected.status is DeploymentStatus.REJECTED and rejected.adapter is None
    assert last.id == second.id and last.status is RunStatus.PROMOTED and last.adapter, last.message
    active = first.store.deployments.active("bank")
    assert active is not None and active.adapter == last.adapter


def test_too_few_answers_end_with_one_run(scene: Scene) -> None:
    scene.rate(4)
    scene.try_untrained(True)
    last = scene.run()
    (run,) = scene.store.runs.all("bank")
    assert run.id == last.id and run.status is RunStatus.NOT_ENOUGH and not scene.vllm.requests


def test_a_server_that_does_not_answer_ends_it_with_one_run(first: Scene) -> None:
    first.vllm.fails_with = 500
    last = first.run()
    (run,) = first.store.runs.all("bank")
    assert run.id == last.id and run.status is RunStatus.FAILED


def test_where_something_shorter_is_served_already_nothing_is_tried(first: Scene) -> None:
    first.try_untrained(False)
    assert not is_worth_trying(first.context, "bank")
    first.run()
    (run,) = first.store.runs.all("bank")
    assert run.trigger == "test"


@pytest.mark.parametrize("segments", [1, 2], ids=["it is protected", "approved answers are longer"])
def test_a_prompt_that_cannot_be_shorter_is_left_as_it_is(first: Scene, segments: int) -> None:
    assert is_worth_trying(first.context, "bank")
    prompt = first.store.prompts.add("bank", first.store.prompts.latest("bank").segments[:segments])
    ids = [segment.id for segment in prompt.segments]
    tokens = prompt_tokens(first.tokenizer, prompt.segments)
    short = first.store.deployments.add("bank", prompt.id, None, ids, 0, tokens)
    first.store.deployments.activate(short.id)
    assert not is_worth_trying(first.context, "bank")


def test_nobody_is_asked_to_judge_what_is_not_trained(first: Scene) -> None:
    """Where scores are graded, a refused candidate would have its answers judged."""

    def answer(model: str, ids: Sequence[int]) -> str:
        plain = colour(first.question(ids))
        has_prompt = "one two three" in first.tokenizer.decode(ids)
        return plain if has_prompt or hash_of(first.question(ids)) % 6 else f"{plain} it is"

    first.vllm.answer = answer
    with first.store._file.writing() as transaction:
        transaction.execute("UPDATE assistants SET scorer = 'chrf'")
    first.run(min_train=20)
    second, run = first.store.runs.all("bank")
    assert run.status is RunStatus.REFUSED and run.report["judgement_requests"] == 0
    assert "Review page" not in run.message
    asked = first.store.judgement_requests.of_run(second.id)
    assert second.report["judgement_requests"] == len(asked) > 0, second.message
