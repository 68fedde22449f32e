"""Ratings to a frozen dataset: what counts, which side it goes to, and how much is missing."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.records import Decision, Example, RatedAnswer, Rating, Role, Ruling, Split, Verdict
from trainer.evaluation.scorers import SCORERS, UnknownScorer, scorer
from trainer.examples.dataset import content_hash, make_examples, shortage, sizes
from trainer.examples.selection import Drop, select
from trainer.examples.similar import NEAR
from trainer.examples.splits import assign, split_of
from trainer.examples.wording import likeness, wording
from trainer.settings import TrainerSettings

UP, DOWN = Verdict.UP, Verdict.DOWN


def rating(
    verdict: Verdict | None, rater: str = "ann", correction: str | None = None, at: float = 0.0
) -> Rating:
    return Rating(f"{rater}{at}", "m", rater, verdict, at, correction=correction)


def rated(
    *ratings: Rating, answer: str = "Paris.", question: str = "Capital of France?", id: str = "m1"
) -> RatedAnswer:
    return RatedAnswer(id, f"c-{id}", ((Role.USER, question),), answer, ratings, None)


@pytest.mark.parametrize(
    ("ratings", "outcome"),
    [
        ([rating(UP)], ("Paris.", False)),
        ([rating(UP), rating(UP, "bob")], ("Paris.", False)),
        ([rating(UP), rating(None, "bob")], ("Paris.", False)),
        ([rating(UP), rating(DOWN, "bob")], Drop.RATED_DOWN),
        ([rating(DOWN)], Drop.RATED_DOWN),
        ([rating(None)], Drop.UNRATED),
        ([], Drop.UNRATED),
        ([rating(DOWN, correction=" Lyon? ")], ("Lyon?", True)),
        ([rating(UP), rating(DOWN, "bob", correction="Lyon")], ("Lyon", True)),
        ([rating(DOWN, correction="old", at=1), rating(DOWN, "bob", "new", at=2)], ("new", True)),
        ([rating(DOWN, correction="  ")], Drop.EMPTY),
        ([rating(DOWN, correction="x" * 101)], Drop.TOO_LONG),
    ],
)
def test_what_counts_as_an_example(ratings: list[Rating], outcome: object) -> None:
    approved, dropped = select([rated(*ratings)], 100)
    if isinstance(outcome, Drop):
        assert not approved and dropped == {"m1": outcome}
    else:
        assert not dropped and (approved[0].completion, approved[0].corrected) == outcome


def decided(ruling: Ruling, correction: str | None = None) -> Decision:
    return Decision("d", "m1", "rev", ruling, 9.0, correction)


@pytest.mark.parametrize(
    ("decision", "ratings", "outcome"),
    [
        (decided(Ruling.REJECT), [rating(UP)], Drop.REJECTED),
        (decided(Ruling.REJECT), [rating(DOWN, correction="Lyon")], Drop.REJECTED),
        (decided(Ruling.APPROVE), [rating(DOWN)], ("Paris.", False, "rev")),
        (decided(Ruling.APPROVE), [], ("Paris.", False, "rev")),
        (decided(Ruling.APPROVE), [rating(DOWN, correction="Lyon")], ("Paris.", False, "rev")),
        (decided(Ruling.APPROVE, " Lyon "), [rating(DOWN, correction="Lyon")], ("Lyon", True, "ann")),
        (decided(Ruling.CORRECT, "Nice"), [rating(UP, correction="Lyon", at=99)], ("Nice", True, "rev")),
        (decided(Ruling.CORRECT, " "), [rating(UP)], Drop.EMPTY),
    ],
)
def test_a_reviewer_outranks_raters(
    decision: Decision, ratings: list[Rating], outcome: tuple[str, bool, str] | Drop
) -> None:
    approved, dropped = select([replace(rated(*ratings), decision=decision)], 100)
    if isinstance(outcome, Drop):
        assert not approved and dropped == {"m1": outcome}
    else:
        (item,) = approved
        assert (item.completion, item.corrected, item.rater) == outcome and item.reviewed


@pytest.mark.parametrize(
    ("given", "correction", "rejected"),
    [
        (" Lyon. ", "Paris.", "Lyon."),
        ("Lyon.", None, None),
        ("Paris.", " Paris. ", None),  # corrected to the same
        ("  ", "Paris.", None),
    ],
)
def test_the_answer_that_a_correction_replaced_is_recorded(
    given: str, correction: str | None, rejected: str | None
) -> None:
    approved, _ = select(
        [rated(rating(DOWN if correction else UP, correction=correction), answer=given)], 100
    )
    (example,) = make_examples(approved, {"c-m1": Split.TRAIN}, None)
    assert example.rejected == rejected


def test_a_rejected_answer_is_part_of_the_hash_and_its_absence_is_not() -> None:
    example = Example("m", "c", ((Role.USER, "q"),), "yes", True, Split.TRAIN)
    before = "e38d451a"  # of a dataset that was frozen before rejected answers were recorded
    assert content_hash([example])[:8] == before
    assert content_hash([replace(example, rejected="no")]) != content_hash([example])


def test_an_empty_answer_or_question_teaches_nothing() -> None:
    _, dropped = select([rated(rating(UP), answer=" "), rated(rating(UP), question=" \n", id="m2")], 100)
    assert dropped == {"m1": Drop.EMPTY, "m2": Drop.EMPTY}


def test_the_same_pair_counts_once_and_another_answer_counts_too() -> None:
    answers = [
        rated(rating(UP)),
        rated(rating(UP), id="m2"),
        rated(rating(DOWN, correction="PARIS"), id="m3"),
    ]
    approved, dropped = select(answers, 100)
    assert [item.answer.message_id for item in approved] == ["m1", "m3"]
    assert dropped == {"m2": Drop.REPEATED}


@given(st.text().filter(lambda text: re.search(r"\w", text) is not None))
def test_a_question_has_one_side_however_it_is_typed(question: str) -> None:
    assert split_of(question) in Split
    assert split_of(f"  {question}\n") is split_of(question)


@given(st.lists(st.sampled_from(["what", "is", "the", "capital"]), min_size=1))
def test_case_spaces_and_punctuation_do_not_move_a_question(words: list[str]) -> None:
    assert split_of(" ".join(words)) is split_of("  ".join(words).upper() + "?!")


@given(
    questions=st.dictionaries(st.text(min_size=1), st.text(), max_size=20),
    data=st.data(),
)
def test_what_was_placed_stays_whatever_comes_later(questions: dict[str, str], data: st.DataObject) -> None:
    known = data.draw(st.sets(st.sampled_from(sorted(questions)))) if questions else set()
    recorded = {conversation: data.draw(st.sampled_from(Split)) for conversation in known}
    placed = assign(questions, recorded)
    assert set(placed) == set(questions)
    assert all(placed[conversation] is split for conversation, split in recorded.items())
    assert assign(questions, placed) == placed
    wordings = {conversation: wording(question) for conversation, question in questions.items()}
    for conversation in set(questions) - known:
        others = [wordings[other] for other in questions if other != conversation]
        if not any(likeness(wordings[conversation], other) >= NEAR for other in others):
            assert placed[conversation] is split_of(questions[conversation])


def test_the_shares_are_kept() -> None:
    counted = [split_of(f"question {number}") for number in range(5000)]
    assert abs(counted.count(Split.GATE) / 5000 - 0.4) < 0.02
    assert abs(counted.count(Split.DEV) / 5000 - 0.1) < 0.015


def example(number: int, split: Split = Split.TRAIN, completion: str | None = None) -> Example:
    text = f"answer {number}" if completion is None else completion
    return Example(f"m{number:03}", f"c{number}", ((Role.USER, "q"),), text, False, split)


def test_examples_come_in_an_order_of_their_own() -> None:
    approved, _ = select(
        [rated(rating(UP), id="m1", answer="b"), rated(rating(UP), id="m2", answer="a")], 100
    )
    examples = make_examples(approved, {"c-m1": Split.DEV, "c-m2": Split.GATE}, None)
    assert [(e.message_id, e.split) for e in examples] == [("m2", Split.GATE), ("m1", Split.DEV)]
    assert examples == make_examples(approved[::-1], {"c-m1": Split.DEV, "c-m2": Split.GATE}, None)


def test_the_hash_covers_ids_texts_and_splits() -> None:
    plain = content_hash([example(1), example(2)])
    assert plain == content_hash([example(1), example(2)])
    changed = [
        [example(1)],
        [example(2), example(1)],
        [example(1), example(3)],
        [example(1), example(2, Split.GATE)],
        [example(1), example(2, completion="other")],
    ]
    assert len({plain, *map(content_hash, changed)}) == 6


SETTINGS = TrainerSettings(min_train=6, min_gate=3)


def some(train: int, dev: int, gate: int, completion: str | None = None) -> list[Example]:
    wanted = [Split.TRAIN] * train + [Split.DEV] * dev + [Split.GATE] * gate
    return [example(number, split, completion) for number, split in enumerate(wanted)]


@pytest.mark.parametrize(("train", "dev", "gate"), [(0, 0, 0), (5, 1, 3), (6, 0, 3), (6, 1, 2), (2, 1, 3)])
def test_a_shortage_says_how_many_more(train: int, dev: int, gate: int) -> None:
    sentence = shortage(some(train, dev, gate), SETTINGS)
    assert sentence is not None
    assert sentence.startswith("Not enough yet: about ") and f"There are {train + dev + gate}" in sentence
    assert int(sentence.split()[4]) >= 1
    assert f"{train} to train on (6 needed) and {gate} to prove it on (3 needed)" in sentence


def test_enough_is_enough() -> None:
    assert shortage(some(6, 1, 3), SETTINGS) is None
    assert sizes(some(6, 1, 3)) == {Split.TRAIN: 6, Split.DEV: 1, Split.GATE: 3}


def test_one_answer_to_everything_teaches_nothing() -> None:
    sentence = shortage(some(6, 1, 3, completion="yes"), SETTINGS)
    assert sentence is not None and "the same text (“yes”)" in sentence and "Not enough yet" in sentence


@pytest.mark.parametrize(
    ("name", "answer", "approved", "score"),
    [
        ("exact", " Paris.\n", "Paris.", 1.0),
        ("exact", "paris.", "Paris.", 0.0),
        ("json", '{"a": 1, "b": [2]}', '{"b":[2],"a":1}', 1.0),
        ("json", "no json", "{}", 0.0),
        ("json", '{"a": 1}', '{"a": 2}', 0.0),
        ("chrf", "The capital is Paris.", "The capital is Paris.", 1.0),
        ("bleu", "The capital is Paris.", "The capital is Paris.", 1.0),
        ("chrf", "", "Paris", 0.0),
        ("bleu", "", "Paris", 0.0),
    ],
)
def test_scores_lie_between_nothing_and_one(name: str, answer: str, approved: str, score: float) -> None:
    assert scorer(name)(answer, approved) == pytest.approx(score, abs=1e-6)


@given(answer=st.text(max_size=30), approved=st.text(max_size=30), name=st.sampled_from(sorted(SCORERS)))
def test_no_text_breaks_a_scorer(answer: str, approved: str, name: str) -> None:
    assert 0.0 <= scorer(name)(answer, approved) <= 1.0 + 1e-9


def test_an_unknown_scorer_names_those_that_exist() -> None:
    with pytest.raises(UnknownScorer, match="'rouge'.*chrf, exact, bleu, json"):
        scorer("rouge")
