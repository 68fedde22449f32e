"""Which answers people are asked about after a refusal, what they accept counts for every system alike, and the refused
candidate is evaluated again: once, and without asking anew.
"""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from retrain_scene import PROMPT, SETTINGS, Scene, colour, hash_of
from typer.testing import CliRunner

from assistant.assistants import save_prompt
from store.records import Example, JudgementRequest, Role, RunStatus, Segment, SegmentKind, Split
from trainer.__main__ import app
from trainer.context import RunProgress
from trainer.evaluation import gate_evaluation
from trainer.evaluation.gate import Answers, Comparison, VariantVerdict
from trainer.evaluation.guards import QUESTIONS, Guard
from trainer.evaluation.judgements import TRIGGER, approved_answers, judgement_requests, pending, worth_asking
from trainer.evaluation.statistics import Interval
from trainer.examples.dataset import snapshot
from trainer.rerun import NoRerun, rerun
from trainer.run import reevaluate

EXAMPLES = [
    Example(f"m{n}", f"c{n}", ((Role.USER, f"question {n % 4}"),), f"answer {n}", False, Split.GATE)
    for n in range(6)
]


def failed_variant(*comparisons: Comparison, guards: bool = True) -> VariantVerdict:
    guard = Guard("length", guards, "")
    return VariantVerdict(2, ("law",), 0, 10, Interval(0.5, 0.4, 0.6), comparisons, (guard,))


AGAINST_BASE = Comparison("base_full", -0.02, -0.09, False, 50)


def test_people_are_asked_about_sound_answers_that_are_not_far_behind() -> None:
    assert worth_asking(failed_variant(AGAINST_BASE), 0.15)
    assert not worth_asking(failed_variant(AGAINST_BASE, guards=False), 0.15), (
        "it loops, or says always the same"
    )
    far = replace(AGAINST_BASE, reference="active", difference=-0.2)
    assert not worth_asking(failed_variant(AGAINST_BASE, far), 0.15)
    assert not worth_asking(failed_variant(replace(AGAINST_BASE, passed=True)), 0.15), "nothing would change"


def test_the_answers_that_a_word_would_change_most_come_first_one_a_question() -> None:
    mine = Answers(tuple("abcdef"), (0.5, 0.45, 1.0, 0.9, 0.0, 0.6), 10)
    found = judgement_requests(EXAMPLES, mine, 10)
    assert found == [("m0", "a"), ("m1", "b"), ("m3", "d")], (
        "m5 asks what m1 asks; m2 is right, m4 is nothing like it"
    )
    assert judgement_requests(EXAMPLES, mine, 1) == [("m0", "a")]
    assert judgement_requests(EXAMPLES, replace(mine, texts=("", " ", "c", "d", "e", "f")), 2) == [
        ("m5", "f"),
        ("m3", "d"),
    ]


def test_what_was_accepted_for_a_question_counts_wherever_it_is_asked() -> None:
    decided = [
        JudgementRequest(1, 1, "m1", "as good", 0.0, True, "bo", 1.0),
        JudgementRequest(2, 1, "m1", "useless", 0.0, False, "bo", 1.0),
        JudgementRequest(3, 1, "of a question that is gone", "x", 0.0, True, "bo", 1.0),
    ]
    found = approved_answers(EXAMPLES, decided)
    assert found[1] == ("answer 1", "as good", "answer 5")
    assert found[5] == ("answer 5", "answer 1", "as good"), "its own first"
    assert found[2] == ("answer 2",)
    assert approved_answers([], decided) == []


def grade(scene: Scene) -> None:
    with scene.store._file.writing() as transaction:
        transaction.execute("UPDATE assistants SET scorer = 'chrf'")


@pytest.fixture
def refused(scene: Scene) -> Scene:
    """The base model gives every approved answer; the adapter says one in six of them in other words."""

    def answer(model: str, ids: list[int]) -> str:
        question = scene.question(ids)
        plain = colour(question)
        return f"{plain} it is" if model != "base" and hash_of(question) % 6 == 0 else plain

    scene.vllm.answer = answer
    grade(scene)
    scene.rate(80)
    run = scene.run()
    asked = scene.store.judgement_requests.open("bank")
    assert run.status is RunStatus.REFUSED and run.report["judgement_requests"] == len(asked) > 3, run.message
    assert f"Review page whether these {len(asked)} answers are right" in run.message
    assert "the candidate is evaluated again" in run.message
    return scene


@pytest.fixture
def waiting(scene: Scene) -> Scene:
    """What a refused run leaves behind that asked people about two answers."""
    grade(scene)
    scene.rate(40)
    store, active = scene.store, scene.store.deployments.active("bank")
    run = store.runs.start("bank", SETTINGS.as_record(), "test")
    snapshot(scene.context, run, RunProgress(store, run.id))
    store.runs.finish(run.id, RunStatus.REFUSED, "", {"active": active and active.id})
    asked = [(answer.message_id, "as good") for answer in store.answers.rated("bank")[:2]]
    store.judgement_requests.add(run.id, asked)
    return scene


def gate_examples(scene: Scene) -> list[Example]:
    (run,) = scene.store.runs.all("bank")[-1:]
    return [e for e in scene.store.datasets.get(run.dataset_id or 0).examples if e.split is Split.GATE]


def decide(scene: Scene, accepted: bool, but: int = 0) -> None:
    ids = [one.id for one in scene.store.judgement_requests.open("bank")[but:]]
    scene.store.judgement_requests.choose(ids, ids if accepted else [], "bo")


def test_a_retrain_passes_once_people_say_that_its_answers_do(refused: Scene) -> None:
    requests = refused.store.judgement_requests.open("bank")
    assert all(request.text.endswith(" it is") for request in requests)
    assert {request.message_id for request in requests} <= {e.message_id for e in gate_examples(refused)}
    decide(refused, True)
    second = refused.run()
    assert second.status is RunStatus.PROMOTED, second.message
    assert second.report["gate"]["accepted_since"] >= len(requests)
    trained = {e.completion for e in refused.store.datasets.get(second.dataset_id).examples}
    assert not any(text.endswith(" it is") for text in trained), "what proves is not what teaches"


def test_people_are_asked_about_the_shorter_variants_that_were_not_tested_too(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next evaluation would know what is right of the longer variant's answers alone."""

    def answer(model: str, ids: Sequence[int]) -> str:
        question = scene.question(ids)
        said = "it is" if scene.tokenizer.decode(ids).count("<|im_start|>user") > 1 else "it was"
        is_other = model != "base" and hash_of(question) % 6 == 0
        return f"{colour(question)} {said}" if is_other else colour(question)

    scene.vllm.answer = answer
    grade(scene)
    scene.rate(80)
    monkeypatch.setattr(gate_evaluation, "gate_sequence", lambda *_: [1, 2])
    run = scene.run()
    assert run.status is RunStatus.REFUSED
    assert [one.get("tested", True) for one in run.report["gate"]["variants"]] == [False, True, False]
    requests = scene.store.judgement_requests.open("bank")
    of_variant = [{one.message_id for one in requests if one.text.endswith(said)} for said in ("is", "was")]
    assert of_variant[0] == of_variant[1] and len(requests) == 2 * len(of_variant[0]) > 3
    decide(scene, True)
    second = reevaluate(scene.context, "bank")
    assert second is not None and second.status is RunStatus.PROMOTED, second and second.message
    active = scene.store.deployments.active("bank")
    assert active is not None and (active.variant, active.demonstrations) == (2, 0)


@pytest.mark.parametrize("accepted", [True, False])
def test_after_a_promotion_people_are_asked_about_the_shorter_variant_that_failed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, accepted: bool
) -> None:
    """The base model needs its full prompt, the adapter approved answers; without, it says one in six otherwise."""
    long = Segment("long", SegmentKind.EXAMPLE, user="Count!", assistant="one two three four " * 40)
    save_prompt(scene.store, scene.tokenizer, "bank", (*PROMPT, long))

    def answer(model: str, ids: Sequence[int]) -> str:
        question, sent = scene.question(ids), scene.tokenizer.decode(ids)
        if model == "base":
            return colour(question) if "three" in sent else "grey"
        is_short = sent.count("<|im_start|>user") == 1
        return f"{colour(question)} it is" if is_short and hash_of(question) % 6 == 0 else colour(question)

    scene.vllm.answer = answer
    grade(scene)
    scene.rate(80)
    monkeypatch.setattr(gate_evaluation, "gate_sequence", lambda *_: [1, 2])
    run = scene.run()
    assert run.status is RunStatus.PROMOTED and "Review page" in run.message
    first = scene.store.deployments.active("bank")
    assert first is not None and (first.variant, first.demonstrations) == (1, 5)
    assert pending(scene.store, "bank") is None, "people have not answered yet"
    requests = scene.store.judgement_requests.open("bank")
    assert len(requests) > 3 and all(one.text.endswith("it is") for one in requests)
    decide(scene, True)
    if not accepted:
        scene.store.judgement_requests.choose([one.id for one in requests[1:]], [], "bo")
    second = reevaluate(scene.context, "bank")
    active = scene.store.deployments.active("bank")
    assert second is not None and active is not None and second.adapter == first.adapter
    if accepted:
        assert second.status is RunStatus.PROMOTED, second.message
        assert (active.variant, active.demonstrations, active.adapter) == (2, 0, first.adapter)
        assert scene.store.deployments.rollback("bank", "worse").id == first.id
    else:
        assert second.status is RunStatus.REFUSED and active.id == first.id, second.message
    assert reevaluate(scene.context, "bank") is None, "there is no third evaluation"


def test_rejected_answers_change_nothing_and_right_or_wrong_ones_are_not_asked_about(refused: Scene) -> None:
    (first,) = refused.store.runs.all("bank")
    decide(refused, False)
    second = refused.run()
    assert second.status is RunStatus.REFUSED
    assert second.report["after"]["quality"] == first.report["after"]["quality"]
    assert second.report["judgement_requests"] == 0, "they were asked before"
    with refused.store._file.writing() as transaction:
        transaction.execute("DELETE FROM judgement_requests")
        transaction.execute("UPDATE assistants SET scorer = 'exact'")
    third = refused.run()
    assert third.status is RunStatus.REFUSED and third.report["judgement_requests"] == 0
    assert "Review page" not in third.message


def test_what_people_accept_promotes_the_same_adapter_and_nothing_is_asked_again(refused: Scene) -> None:
    (first,) = refused.store.runs.all("bank")
    decide(refused, True)
    found = pending(refused.store, "bank")
    assert found is not None and found.id == first.id
    asked: list[str] = []
    answer = refused.vllm.answer
    refused.vllm.answer = lambda model, ids: asked.append(refused.question(ids)) or answer(model, ids)

    second = reevaluate(refused.context, "bank")

    assert second is not None and second.status is RunStatus.PROMOTED, second and second.message
    assert (second.adapter, second.dataset_id, second.trigger) == (first.adapter, first.dataset_id, TRIGGER)
    active = refused.store.deployments.active("bank")
    assert active is not None and active.adapter == first.adapter and active.run_id == second.id
    gate_questions = {e.context[-1][1] for e in gate_examples(refused)}
    again = [question for question in asked if question in gate_questions]
    assert len(set(again)) <= 1, "one of them measures the time to the first token"
    assert len([question for question in asked if question in QUESTIONS]) >= 2 * len(QUESTIONS)
    before, after = first.report["gate"], second.report["gate"]
    assert (before["evaluation"], after["evaluation"]) == (1, 2)
    assert before["confidence"] == after["confidence"] == pytest.approx(0.975)
    assert after["scores"]["base_full"] == before["scores"]["base_full"], "it gave none of those answers"
    assert second.report["training"] == first.report["training"]
    with pytest.raises(NoRerun, match=f"it evaluated {first.adapter} again"):
        rerun(refused.store, refused.context.data_dir, second.id, print)
    assert pending(refused.store, "bank") is None and reevaluate(refused.context, "bank") is None


def test_one_that_is_refused_again_has_no_third_evaluation(
    refused: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_before = [(example.completion,) for example in gate_examples(refused)]
    monkeypatch.setattr(gate_evaluation.judgements, "approved_answers", lambda *_: as_before)
    decide(refused, True)
    second = reevaluate(refused.context, "bank")
    assert (
        second is not None and second.status is RunStatus.REFUSED and second.report["judgement_requests"] == 0
    )
    assert refused.store.judgement_requests.open("bank") == [] and pending(refused.store, "bank") is None
    assert refused.vllm.adapters == {}


def test_it_waits_for_all_decisions_and_for_one_acceptance(waiting: Scene) -> None:
    assert pending(waiting.store, "bank") is None
    decide(waiting, True, but=1)
    assert pending(waiting.store, "bank") is None, "one is open"
    decide(waiting, True)
    assert pending(waiting.store, "bank") is not None
    for judgement_request in waiting.store.judgement_requests.decided("bank"):
        waiting.store.judgement_requests.choose([judgement_request.id], [], "bo")
    assert pending(waiting.store, "bank") is None, "nothing that people said helps it"
    assert reevaluate(waiting.context, "bank") is None


@pytest.mark.parametrize("change", ["prompt", "deployment", "run", "settings"])
def test_what_has_changed_since_needs_a_retrain(waiting: Scene, change: str) -> None:
    store = waiting.store
    decide(waiting, True)
    (run,) = store.runs.all("bank")
    if change == "prompt":
        store.prompts.add("bank", store.prompts.latest("bank").segments[:1])
    elif change == "deployment":
        active = store.deployments.active("bank")
        assert active is not None
        store.deployments.activate(store.deployments.add("bank", active.prompt_id, None, ["law"], 1, 9).id)
    elif change == "run":
        store.runs.finish(store.runs.start("bank", {}, "test").id, RunStatus.NOT_ENOUGH, "", {})
    else:
        with store._file.writing() as transaction:
            transaction.execute("UPDATE runs SET settings = '{}' WHERE id = ?", [run.id])
    assert pending(store, "bank") is None


def test_a_reevaluation_that_fails_is_tried_three_times(refused: Scene) -> None:
    decide(refused, True)
    (run,) = refused.store.runs.all("bank")
    adapter = refused.context.adapters / str(run.adapter) / "adapter_model.safetensors"
    whole = adapter.read_bytes()
    adapter.write_bytes(whole[:-1])
    for _ in range(2):
        failed = reevaluate(refused.context, "bank")
        assert failed is not None and failed.status is RunStatus.FAILED and "hash" in failed.message
    adapter.write_bytes(whole)
    assert pending(refused.store, "bank") is not None
    store = refused.store
    third = store.runs.start("bank", run.settings, TRIGGER)
    store.runs.finish(third.id, RunStatus.INTERRUPTED, "", {})
    assert pending(store, "bank") is None


def test_the_command_says_when_nothing_waits(waiting: Scene) -> None:
    words = ["reevaluate", "--data-dir", str(waiting.context.data_dir)]
    waiting.context.address.write(waiting.context.data_dir)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2 and "waits for a re-evaluation" in " ".join(result.output.split())


def test_a_margin_that_moved_meanwhile_does_not_count(refused: Scene) -> None:
    decide(refused, True)
    strict = replace(refused.context, settings=replace(refused.context.settings, margin=0.0001))
    second = reevaluate(strict, "bank")
    assert second is not None and second.report["gate"]["margin"] == 0.1
