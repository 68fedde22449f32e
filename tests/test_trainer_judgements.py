"""Which answers people are asked about after a refusal, and that what they accept counts for every system alike."""

from dataclasses import replace

import pytest
from retrain_scene import Scene, colour, hash_of

from store.records import Example, JudgementRequest, Role, RunStatus, Split
from trainer.evaluation.gate import Answers, Comparison, VariantVerdict
from trainer.evaluation.guards import Guard
from trainer.evaluation.judgements import approved_answers, judgement_requests, worth_asking
from trainer.evaluation.scorers import best, chrf, exact
from trainer.evaluation.statistics import Interval

EXAMPLES = [
    Example(f"m{n}", f"c{n}", ((Role.USER, f"question {n % 4}"),), f"answer {n}", False, Split.GATE)
    for n in range(6)
]


def refused(*comparisons: Comparison, guards: bool = True) -> VariantVerdict:
    guard = Guard("length", guards, "")
    return VariantVerdict(2, ("law",), 10, Interval(0.5, 0.4, 0.6), comparisons, (guard,))


AGAINST_BASE = Comparison("base_full", -0.02, -0.09, False, 50)


def test_people_are_asked_about_sound_answers_that_are_not_far_behind() -> None:
    assert worth_asking(refused(AGAINST_BASE), 0.15)
    assert not worth_asking(refused(AGAINST_BASE, guards=False), 0.15), "it loops, or says always the same"
    far = replace(AGAINST_BASE, reference="active", difference=-0.2)
    assert not worth_asking(refused(AGAINST_BASE, far), 0.15)
    assert not worth_asking(refused(replace(AGAINST_BASE, passed=True)), 0.15), "nothing would change"


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


def test_an_answer_scores_by_the_nearest_approved_text() -> None:
    assert best(exact, "b", ("a", "b")) == 1.0 and best(exact, "c", ("a", "b")) == 0.0
    assert best(chrf, "We open at nine.", ("Nine.", "We open at nine!")) == pytest.approx(
        chrf("We open at nine.", "We open at nine!")
    )


def in_other_words(scene: Scene) -> None:
    """The base model gives every approved answer; adapters say one in six of them in other words."""

    def answer(model: str, ids: list[int]) -> str:
        question = scene.question(ids)
        plain = colour(question)
        return f"{plain} it is" if model != "base" and hash_of(question) % 6 == 0 else plain

    scene.vllm.answer = answer
    with scene.store._file.writing() as transaction:
        transaction.execute("UPDATE assistants SET scorer = 'chrf'")


def test_a_refused_candidate_passes_once_people_say_that_its_answers_do(scene: Scene) -> None:
    scene.rate(80)
    in_other_words(scene)
    first = scene.run()
    assert first.status is RunStatus.REFUSED, first.message
    asked = scene.store.judgement_requests.open("bank")
    assert first.report["judgement_requests"] == len(asked) > 3
    assert f"{len(asked)} of its answers differ" in first.message and "Review page" in first.message
    assert all(p.text.endswith(" it is") for p in asked)
    gate = {
        e.message_id for e in scene.store.datasets.get(first.dataset_id).examples if e.split is Split.GATE
    }
    assert {p.message_id for p in asked} <= gate

    for judgement_request in asked:
        scene.store.judgement_requests.decide([judgement_request.id], True, "bo")
    second = scene.run()
    assert second.status is RunStatus.PROMOTED, second.message
    assert second.report["gate"]["accepted_since"] >= len(asked)
    trained = {e.completion for e in scene.store.datasets.get(second.dataset_id).examples}
    assert not any(text.endswith(" it is") for text in trained), "what proves is not what teaches"


def test_rejected_answers_change_nothing_and_right_or_wrong_ones_are_not_asked_about(scene: Scene) -> None:
    scene.rate(80)
    in_other_words(scene)
    first = scene.run()
    for judgement_request in scene.store.judgement_requests.open("bank"):
        scene.store.judgement_requests.decide([judgement_request.id], False, "bo")
    second = scene.run()
    assert second.status is RunStatus.REFUSED
    assert second.report["after"]["quality"] == first.report["after"]["quality"]
    assert second.report["judgement_requests"] == 0, "they were asked before"
    with scene.store._file.writing() as transaction:
        transaction.execute("DELETE FROM judgement_requests")
        transaction.execute("UPDATE assistants SET scorer = 'exact'")
    third = scene.run()
    assert third.status is RunStatus.REFUSED and third.report["judgement_requests"] == 0
    assert "Review page" not in third.message
