"""The gate asks what nobody rated: equal answers need no label, differing ones are judged, look after look."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from retrain_scene import PROMPT, SETTINGS, Scene, colour, hash_of

from assistant.assistants import save_prompt
from benchmarks.gate_simulation import walk_looks
from store.records import (
    Example,
    Role,
    RunStatus,
    Segment,
    SegmentKind,
    Split,
    TrainingRun,
    Variant,
    Verdict,
)
from trainer.evaluation import gate_evaluation
from trainer.evaluation.gate import LOOKS, Answers, Gate
from trainer.evaluation.judgements import (
    approved_answers,
    differing_answers,
    known_score,
    pending,
    refused_answers,
)
from trainer.evaluation.scorers import exact, json_match
from trainer.run import reevaluate
from trainer.watch import new_examples

RATED, UNRATED, MARGIN = 40, 300, 0.05
RIGHT = [f"answer {n % 17}" for n in range(RATED + UNRATED)]


def gate(unrated: int, known: Sequence[int] = ()) -> Gate:
    approved = [text if n < RATED or n in known else None for n, text in enumerate(RIGHT[: RATED + unrated])]
    return Gate(approved, [f"c{n}" for n in range(RATED + unrated)], MARGIN, True, unrated=unrated)


def answered(wrong: Sequence[int], unrated: int, known: Sequence[int] = ()) -> Answers:
    texts = tuple("wrong" if n in wrong else text for n, text in enumerate(RIGHT[: RATED + unrated]))
    scores = [exact(text, RIGHT[n]) if n < RATED or n in known else None for n, text in enumerate(texts)]
    return Answers(texts, tuple(scores), 100)


def test_the_looks_spend_five_percent_together() -> None:
    for unrated in (0, 1, 25, 26, 75, 76, 180, 250, 300):
        looks = gate(unrated).looks()
        assert looks[-1][0] == unrated and sum(level for _, level in looks) == pytest.approx(0.05)
        assert [count for count, _ in looks] == sorted({count for count, _ in looks})
    assert gate(0).looks() == [(0, pytest.approx(0.05))] and gate(300).looks()[:2] == list(LOOKS[:2])


def test_where_both_say_the_same_nobody_is_asked() -> None:
    same = answered((), 250)
    found = walk_looks(gate(250), 1, Variant(("a",)), same, {"base_full": same, "active": same})
    assert found.passed and not found.undecided and 25 <= found.unrated <= 250
    assert found.score.mean == 1.0, "of the rated ones"


def test_one_that_is_far_better_passes_with_the_first_look() -> None:
    worse = [n for n in range(RATED + 250) if n % 2]
    asked = range(RATED, RATED + 25)
    waits = walk_looks(gate(250), 1, Variant(()), answered((), 250), {"active": answered(worse, 250)})
    assert not waits.passed and set(waits.undecided) == {n for n in asked if n % 2} and waits.unrated == 25
    decided = answered((), 250, asked), answered(worse, 250, asked)
    found = walk_looks(gate(250, asked), 1, Variant(()), decided[0], {"active": decided[1]})
    assert found.passed and found.unrated == 25


def test_one_that_is_as_good_is_asked_about_look_after_look_and_a_bad_one_is_given_up() -> None:
    def differ(n: int, other: int) -> bool:
        return n >= RATED and n % 20 == other

    mine, theirs = ([n for n in range(RATED + 250) if differ(n, other)] for other in (3, 13))
    known: list[int] = []
    for look, _ in LOOKS:
        one, other = answered(mine, 250, known), answered(theirs, 250, known)
        found = walk_looks(gate(250, known), 1, Variant(()), one, {"active": other})
        assert not found.passed and found.undecided and found.unrated == look
        known = list(range(RATED + look))
    one, other = answered(mine, 250, known), answered(theirs, 250, known)
    last = walk_looks(gate(250, known), 1, Variant(()), one, {"active": other})
    assert last.passed and not last.undecided and len([*mine, *theirs]) == 25, "as many judgements as differ"

    bad = [n for n in range(RATED + 250) if n % 3]
    known = list(range(RATED + 75))
    found = walk_looks(
        gate(250, known), 1, Variant(()), answered(bad, 250, known), {"active": answered((), 250, known)}
    )
    assert not found.passed and not found.undecided and found.unrated == 75, "nobody is asked any more"


@pytest.mark.parametrize(
    ("known", "tokens", "mistakes", "is_futile"),
    [(25, 102, 9, True), (25, 104, 9, True), (25, 105, 9, False), (25, 102, 1, False), (0, 102, 9, False)],
    ids=["no cut", "a small cut", "a cut", "on the way to be better", "nobody has said anything yet"],
)
def test_where_nothing_would_be_gained_people_are_asked_once(
    known: int, tokens: int, mistakes: int, is_futile: bool
) -> None:
    asked = range(RATED, RATED + known)
    mine, theirs = ([n for n in range(RATED, RATED + 25) if n % 12 == other] for other in (3, 5))
    mine, theirs = mine[:mistakes], [*theirs, *range(RATED - (mistakes == 1) * 5, RATED)]
    one, other = answered(mine, 250, asked), answered(theirs, 250, asked)
    look = gate(250, asked).looks()[0]
    found = gate(250, asked).look(1, Variant(()), one, {"active": other}, look)
    assert bool(found.undecided) == (known == 0)
    assert gate(250, asked).is_futile(found, tokens, 100, True) is is_futile
    assert not gate(250, asked).is_futile(found, tokens, 100, False), "an edited prompt may be longer"


@pytest.mark.parametrize(
    ("mistakes", "tokens", "is_futile"),
    [(14, 100, True), (14, 105, False), (3, 100, False), (0, 100, False)],
    ids=["far behind", "but a cut", "a little behind", "as good"],
)
def test_what_is_far_behind_on_rated_examples_and_cuts_nothing_is_not_asked_about(
    mistakes: int, tokens: int, is_futile: bool
) -> None:
    mine, theirs = range(mistakes), range(RATED - 2, RATED)
    one, other, tested = answered(mine, 250), answered(theirs, 250), gate(250)
    found = tested.look(1, Variant(()), one, {"active": other}, (0, tested.looks()[0][1]))
    assert not found.undecided and tested.is_futile(found, tokens, 100, True) is is_futile


def test_where_what_passed_gains_nothing_people_are_asked_about_what_is_shorter() -> None:
    same, worse = answered((), 250), answered([n for n in range(RATED + 250) if n % 2], 250)
    passed = walk_looks(gate(250), 1, Variant(("a",)), same, {"active": same})
    waits = walk_looks(gate(250), 2, Variant(()), same, {"active": worse})
    verdict = gate(250).decide([passed, waits], active_tokens=100, full_tokens=100, same_prompt=True)
    assert not verdict.promoted and verdict.variant is passed and verdict.failed is waits and waits.undecided
    assert "Nothing is gained" in verdict.reasons[0] and "more judgements" in verdict.reasons[1]


def unrated_example(n: int) -> Example:
    return Example(f"m{n}", f"c{n}", ((Role.USER, f"q{n}"),), "as served", False, Split.GATE, approved=False)


def test_what_people_find_right_makes_every_other_answer_wrong() -> None:
    assert known_score(exact, "b", ("a", "b"), ()) == 1.0, "the nearest counts"
    assert known_score(exact, "b", ("a",), ()) == 0.0 and known_score(exact, "a", ("a",), ("b",)) == 1.0
    assert known_score(exact, "b", (), ("b",)) == 0.0 and known_score(exact, "c", (), ("b",)) is None
    assert known_score(exact, " \n", (), ()) == 0.0, "an empty answer needs no judge"
    assert known_score(json_match, '{"a":  1}', (), ('{"a": 1}',)) == 0.0
    assert known_score(json_match, "{a: 1}", (), ()) == 0.0, "nor one that is no JSON"


def test_each_different_answer_is_asked_about_once() -> None:
    examples = [unrated_example(0), unrated_example(1)]
    systems = [
        Answers(texts, scores, 9)
        for texts, scores in (
            (('{"a": 1}', "2"), (None, None)),
            (('{"a":  1}', "3"), (None, None)),
            (("z", "2.0"), (0.0, None)),
            ((), ()),  # it passed before it was asked
        )
    ]
    assert differing_answers(examples, systems, [0, 1], json_match) == [
        ("m0", '{"a": 1}'),
        ("m1", "2"),
        ("m1", "3"),
    ]
    assert approved_answers(examples, []) == [(), ()] and refused_answers(examples, []) == [(), ()]


@pytest.fixture
def traffic(scene: Scene) -> Scene:
    """Few answers are rated and many questions asked. The base model is right three times in four."""
    scene.rate(30)
    scene.ask_unrated(400)
    return scene


def say_what_is_right(scene: Scene) -> int:
    requests = scene.store.judgement_requests.open("bank")
    question = {one.id: scene.store.messages.branch(one.message_id)[-2].text for one in requests}
    right = [one.id for one in requests if one.text == colour(question[one.id])]
    scene.store.judgement_requests.choose([one.id for one in requests], right, "bo")
    return len({request.message_id for request in requests})


def test_few_ratings_and_some_judgements_promote_what_is_better(traffic: Scene) -> None:
    run = traffic.run(margin=0.05, min_train=10)
    assert run.status is RunStatus.REFUSED and "more judgements" in run.message, run.message
    dataset = traffic.store.datasets.get(run.dataset_id or 0)
    gate = [e for e in dataset.examples if e.split is Split.GATE]
    assert sum(not e.approved for e in gate) > 5 * sum(e.approved for e in gate)
    trained = {e.context for e in dataset.examples if e.split is not Split.GATE}
    assert not trained & {e.context for e in gate}
    asked = traffic.store.judgement_requests.open("bank")
    assert 0 < len({one.message_id for one in asked}) <= 25
    assert pending(traffic.store, "bank") is None, "they are open"
    labels, found = 0, run
    while found.status is RunStatus.REFUSED and (count := say_what_is_right(traffic)):
        labels += count
        again = reevaluate(traffic.context, "bank")
        assert again is not None
        found = again
    assert found.status is RunStatus.PROMOTED and found.adapter == run.adapter, found.message
    assert 0 < labels <= 60 and found.report["gate"]["judged"] == labels
    assert reevaluate(traffic.context, "bank") is None


def test_after_a_promotion_judgements_go_on_until_the_shorter_one_is_decided(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter is wrong in one of 40, with approved answers in two others, the base model in one of four."""
    long = Segment("long", SegmentKind.EXAMPLE, user="Count!", assistant="one two three four " * 40)
    save_prompt(scene.store, scene.tokenizer, "bank", (*PROMPT, long))

    def answer(model: str, ids: Sequence[int]) -> str:
        question, sent = scene.question(ids), scene.tokenizer.decode(ids)
        number = hash_of(question) % 40
        if model == "base":
            return colour(question) if "three" in sent and number % 4 else "grey"
        is_short = sent.count("<|im_start|>user") == 1
        return "grey" if number in ([1] if is_short else [0, 2]) else colour(question)

    scene.vllm.answer = answer
    scene.rate(30)
    scene.ask_unrated(400)
    monkeypatch.setattr(gate_evaluation, "gate_sequence", lambda *_: [1, 2])
    runs = [scene.run(margin=0.05, min_train=10)]
    while say_what_is_right(scene) and (found := reevaluate(scene.context, "bank")):
        runs.append(found)
    active = scene.store.deployments.active("bank")
    promoted = [run for run in runs if run.status is RunStatus.PROMOTED]
    assert len(promoted) == 2, [run.message for run in runs]
    assert all("The prompt of 151 tokens" not in run.message for run in runs[runs.index(promoted[0]) + 1 :])
    assert {run.adapter for run in runs} == {runs[0].adapter}
    assert active is not None and (active.variant, active.run_id) == (2, promoted[-1].id)
    assert not scene.store.judgement_requests.open("bank") and reevaluate(scene.context, "bank") is None


def test_what_is_worse_is_refused_for_good(traffic: Scene) -> None:
    def answer(model: str, ids: Sequence[int]) -> str:
        question = traffic.question(ids)
        return colour(question) if model == "base" or hash_of(question) % 3 else "grey"

    traffic.vllm.answer = answer
    found: TrainingRun | None = traffic.run(margin=0.05, min_train=10)
    for _ in LOOKS:
        assert found is not None and found.status is RunStatus.REFUSED
        if not say_what_is_right(traffic):
            break
        found = reevaluate(traffic.context, "bank")
    assert found is not None and "cannot be ruled out" in found.message, found.message
    assert reevaluate(traffic.context, "bank") is None and not traffic.store.judgement_requests.open("bank")


def test_few_ratings_are_enough_for_a_retrain_and_what_was_unrated_is_new_once_it_is_rated(
    traffic: Scene,
) -> None:
    settings = replace(SETTINGS, margin=0.05, min_train=10, min_gate=40, retrain_after=5)
    rated = len(traffic.store.answers.rated("bank"))
    assert new_examples(traffic.store, "bank", settings) == rated
    run = traffic.run(margin=0.05, min_train=10, min_gate=40)
    assert run.status is RunStatus.REFUSED and new_examples(traffic.store, "bank", settings) == 0
    say_what_is_right(traffic)
    assert new_examples(traffic.store, "bank", settings) == 0, "a judgement is no example"
    dataset = traffic.store.datasets.get(run.dataset_id or 0)
    unrated = [e.message_id for e in dataset.examples if not e.approved]
    for id in unrated[:6]:
        traffic.store.ratings.add(id, "ann", Verdict.UP)
    assert new_examples(traffic.store, "bank", settings) == 6


def test_without_judgements_the_gate_is_of_rated_answers_alone(traffic: Scene) -> None:
    run = traffic.run(judgement_requests=0)
    dataset = traffic.store.datasets.get(run.dataset_id or 0)
    assert not [e for e in dataset.examples if e.split is Split.GATE and not e.approved]
