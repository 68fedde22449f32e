"""Which approved answer suits a question most: by its most similar question, and by all that have it."""

import numpy as np
import pytest

from assistant.approved import NO_VECTORS, ApprovedAnswers
from store.demonstrations import Demonstration

# Directions in a plane, by their angle in degrees: the questions about cards lie around -20, those about loans at 100.
ANGLES = {"card 1": -40, "card 2": -20, "card 3": 0, "loan 1": 62, "loan 2": 100, "loan 3": 138, "joke": 220}


def at(degrees: float) -> np.ndarray:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], np.float32)


@pytest.fixture
def known() -> ApprovedAnswers:
    items = [Demonstration(name, name, name.split()[0]) for name in ANGLES]
    return ApprovedAnswers.of(items, np.array([at(degrees) for degrees in ANGLES.values()]))


def test_an_answer_whose_questions_are_all_near_suits_more_than_that_of_the_nearest_question(
    known: ApprovedAnswers,
) -> None:
    found = known.most_suitable(at(32))
    nearest = next(known.nearest(at(32), lambda one: True))
    assert nearest.answer == "loan" and found is not None
    assert found.demonstration.message_id == "card 3", "of that answer the most similar question"
    assert found.value == pytest.approx(0.3 * np.cos(np.radians(32)) + 0.7 * np.cos(np.radians(52)))


def test_what_asks_the_same_as_one_question_gets_its_answer(known: ApprovedAnswers) -> None:
    """However near all questions of another answer are: a correction counts at once."""
    corrected = Demonstration("corrected", "corrected", "loan")
    again = ApprovedAnswers.of([*known.items, corrected], np.vstack([known.vectors, at(20)]))
    for degrees in (20, 15):
        found = again.most_suitable(at(degrees))
        assert found is not None and found.demonstration == corrected
    assert found.value == pytest.approx(np.cos(np.radians(5)))


def test_an_answer_to_one_question_is_as_much_like_as_that_question(known: ApprovedAnswers) -> None:
    found = known.most_suitable(at(190))
    assert found is not None and found.demonstration.answer == "joke"
    assert found.value == pytest.approx(np.cos(np.radians(30)))


def test_what_is_not_allowed_counts_neither_as_nearest_nor_among_the_others(known: ApprovedAnswers) -> None:
    found = known.most_suitable(at(30), lambda one: one.message_id not in ("card 3", "card 1"))
    assert found is not None and found.demonstration.message_id == "card 2"
    assert found.value == pytest.approx(np.cos(np.radians(50)))
    assert known.most_suitable(at(30), lambda one: False) is None


def test_no_question_agrees_with_itself(known: ApprovedAnswers) -> None:
    pairs = known.agreement()
    assert [agrees for _, agrees in pairs] == [True] * 6 + [False]
    assert max(likeness for likeness, _ in pairs) < 0.999
    assert known.agreement(most=2) == pairs[-2:], "the newest"
    alone = ApprovedAnswers.of(known.items[:1], known.vectors[:1])
    assert alone.agreement() == [] == ApprovedAnswers.of([], np.zeros((0, 2))).agreement()


def spread(degrees: float, count: int = 40) -> np.ndarray:
    """Questions around this direction, within 24 degrees."""
    return np.array([at(degrees + one) for one in np.linspace(-24, 24, count)])


def test_questions_that_nobody_rated_say_where_those_of_an_answer_lie() -> None:
    """One approved question lies at the edge of what is asked about it, which reaches to another answer's."""
    items = [Demonstration(name, name, name) for name in ("card", "loan")]
    few, asked = ApprovedAnswers.of(items, np.array([at(0), at(90)])), np.vstack([spread(20), spread(110)])
    sums = few.sums_of_unrated(asked)
    assert sums.keys() == {"card", "loan"} and few.sums_of_unrated(NO_VECTORS) == {}
    angles = [np.degrees(np.arctan2(y, x)) for x, y in sums.values()]
    assert angles == pytest.approx([20, 110], abs=4)
    total = float(np.linalg.norm(sum(sums.values()) - asked.sum(axis=0)))
    assert total < 1e-3, "each is shared out as a whole"
    for degrees, known, answer in ((52, few, "loan"), (52, few.with_unrated(sums), "card")):
        found = known.most_suitable(at(degrees))
        assert found is not None and found.demonstration.answer == answer
    near, far = (few.with_unrated(sums).most_suitable(at(degrees)) for degrees in (-40, 40))
    assert near is not None and far is not None and near.value < far.value


def test_the_own_answer_of_a_question_takes_no_part_in_sharing_out_what_nobody_rated() -> None:
    """Else each would agree with itself by way of those that are like it."""
    items = [Demonstration(f"{name} {n}", "", name) for name in ("card", "loan") for n in range(3)]
    where = [0, 4, 90, 100, 104, 8]  # the last card lies among the loans, and the last loan among the cards
    known = ApprovedAnswers.of(items, np.array([at(one) for one in where]))
    for unrated in (NO_VECTORS, np.vstack([spread(4), spread(100)])):
        agrees = [same for _, same in known.agreement(unrated)]
        assert agrees == [True, True, False, True, True, False]
