"""The simulated user and the schedule: the same for the same seed, and fair."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.tasks.task import Item
from benchmarks.tasks.user import User, rounds_of, sample_of, threshold_of, traffic_of
from store.records import Verdict
from trainer.evaluation.scorers import SCORERS, best, chrf, exact

ITEMS = [Item(f"q{number}", f"Question {number}?", ("right", "also right")) for number in range(40)]


def test_a_good_answer_is_rated_up_by_the_nearest_reference() -> None:
    opinion = User(exact, 1.0, 1.0, 0).rate("q", "also right", ("right", "also right"))
    assert opinion.verdict is Verdict.UP and opinion.correction is None and opinion.score == 1.0


def test_a_bad_answer_is_corrected_with_the_first_reference_or_not_at_all() -> None:
    always, never = User(exact, 1.0, 1.0, 0), User(exact, 1.0, 0.0, 0)
    assert always.rate("q", "wrong", ("right", "also right")).correction == "right"
    assert never.rate("q", "wrong", ("right",)).correction is None
    assert never.rate("q", "wrong", ("right",)).verdict is Verdict.DOWN


def test_the_share_of_corrections_is_kept_and_depends_on_id_and_seed_alone() -> None:
    def corrected(seed: int) -> set[str]:
        user = User(exact, 1.0, 0.75, seed)
        ids = [f"q{number}" for number in range(2000)]
        return {id for id in ids if user.rate(id, "wrong", ("right",)).correction}

    first = corrected(1)
    assert first == corrected(1) != corrected(2)
    assert abs(len(first) - 1500) < 80


def test_rounding_does_not_make_a_right_answer_wrong() -> None:
    text = "the capital is paris"
    user = User(lambda a, b: chrf(a, b) - 1e-12, 1.0, 0.0, 0)
    assert user.rate("q", text, (text,)).verdict is Verdict.UP


def test_every_scorer_has_a_threshold() -> None:
    for name in (*SCORERS, "sql:/a.sqlite", "judge:http://host#model"):
        assert 0 < threshold_of(name) <= 1
    assert best(exact, "b", ("a", "b")) == 1.0


@given(ratings=st.integers(1, 130), rounds=st.integers(1, 7), seed=st.integers(0, 5))
def test_ratings_are_spread_evenly_and_nothing_repeats_before_all_was_asked(
    ratings: int, rounds: int, seed: int
) -> None:
    plan = rounds_of(ITEMS, ratings, rounds, seed)
    assert plan == rounds_of(ITEMS, ratings, rounds, seed)
    sizes = [len(questions) for questions in plan]
    assert len(sizes) == rounds and sum(sizes) == ratings and max(sizes) - min(sizes) <= 1
    asked = [item for items in plan for item in items]
    for start in range(0, ratings, len(ITEMS)):
        turn = [item.id for item in asked[start : start + len(ITEMS)]]
        assert len(set(turn)) == len(turn)


def test_a_seed_gives_an_order_and_a_sample_of_its_own() -> None:
    assert rounds_of(ITEMS, 40, 1, 0) != rounds_of(ITEMS, 40, 1, 1)
    sample = sample_of(ITEMS, 10, 0)
    assert sample == sample_of(ITEMS, 10, 0) != sample_of(ITEMS, 10, 1)
    assert len({item.id for item in sample}) == 10 and sample_of(ITEMS, 99, 0) == ITEMS


@pytest.mark.parametrize(
    ("ratings", "rounds", "per_rating"), [(4, 2, 1), (10, 3, 5), (len(ITEMS), 1, 5), (3, 1, 0)]
)
def test_traffic_is_never_rated_and_never_asked_twice(ratings: int, rounds: int, per_rating: int) -> None:
    plan = traffic_of(ITEMS, ratings, rounds, 0, per_rating)
    asked = [item.id for some in plan for item in some]
    rated = {item.id for some in rounds_of(ITEMS, ratings, rounds, 0) for item in some}
    assert plan == traffic_of(ITEMS, ratings, rounds, 0, per_rating) and len(plan) == rounds
    assert len(set(asked)) == len(asked) == min(ratings * per_rating, len(ITEMS) - len(rated))
    assert not rated & set(asked)
