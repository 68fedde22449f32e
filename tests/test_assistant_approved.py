"""Which approved answer suits a question most: by its most similar question, and by all that have it."""

import numpy as np
import pytest

from assistant.approved import ApprovedAnswers
from store.demonstrations import Demonstration

# Directions in a plane, by their angle in degrees: the questions about cards lie around 0, those about loans at 60.
ANGLES = {"card 1": -10, "card 2": 0, "card 3": 10, "loan 1": 32, "loan 2": 60, "loan 3": 88, "joke": 180}


def at(degrees: float) -> np.ndarray:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], np.float32)


@pytest.fixture
def known() -> ApprovedAnswers:
    items = [Demonstration(name, name, name.split()[0]) for name in ANGLES]
    return ApprovedAnswers.of(items, np.array([at(degrees) for degrees in ANGLES.values()]))


def test_an_answer_whose_questions_are_all_near_suits_more_than_that_of_the_nearest_question(
    known: ApprovedAnswers,
) -> None:
    found = known.most_suitable(at(22))
    nearest = next(known.nearest(at(22), lambda one: True))
    assert nearest.answer == "loan" and found is not None
    assert found.demonstration.message_id == "card 3", "of that answer the most similar question"
    assert found.value == pytest.approx((np.cos(np.radians(12)) + np.cos(np.radians(22))) / 2)


def test_an_answer_to_one_question_is_as_much_like_as_that_question(known: ApprovedAnswers) -> None:
    found = known.most_suitable(at(170))
    assert found is not None and found.demonstration.answer == "joke"
    assert found.value == pytest.approx(np.cos(np.radians(10)))


def test_what_is_not_allowed_counts_neither_as_nearest_nor_among_the_others(known: ApprovedAnswers) -> None:
    found = known.most_suitable(at(10), lambda one: one.message_id not in ("card 3", "card 1"))
    assert found is not None and found.demonstration.message_id == "card 2"
    assert found.value == pytest.approx(np.cos(np.radians(10)))
    assert known.most_suitable(at(10), lambda one: False) is None


def test_no_question_agrees_with_itself(known: ApprovedAnswers) -> None:
    pairs = known.agreement()
    assert [agrees for _, agrees in pairs] == [True, True, True, False, True, True, False]
    assert max(likeness for likeness, _ in pairs) < 0.999
    assert known.agreement(2) == pairs[-2:], "the newest"
    alone = ApprovedAnswers.of(known.items[:1], known.vectors[:1])
    assert alone.agreement() == [] == ApprovedAnswers.of([], np.zeros((0, 2))).agreement()
