"""How many gate examples are needed: plans hold in simulation, and “about N more” is honest."""

import numpy as np
import pytest

from trainer.evaluation.exact_paired_test import power
from trainer.evaluation.sample_size import POWER, more_needed, planned
from trainer.evaluation.statistics import Pairs

MARGIN = 0.05


@pytest.mark.parametrize("differing", [0.02, 0.04, 0.08, 0.15])
def test_as_many_right_or_wrong_answers_as_planned_pass_with_the_planned_power(differing: float) -> None:
    n = planned({0.0: 1 - differing, 1.0: differing / 2, -1.0: differing / 2}, MARGIN, True)
    assert n is not None
    assert 0.8 <= power(n, differing / 2, differing / 2, MARGIN, 0.05) < 0.87
    assert power(round(0.75 * n), differing / 2, differing / 2, MARGIN, 0.05) < 0.8
    random = np.random.default_rng(0)
    drawn = random.choice([-1.0, 1.0, 0.0], size=(300, n), p=[differing / 2, differing / 2, 1 - differing])
    passed = [Pairs(np.maximum(d, 0), np.maximum(-d, 0), range(n), True).rule_out(MARGIN) for d in drawn]
    assert abs(np.mean(passed) - 0.83) < 0.07


@pytest.mark.parametrize("scatter", [0.15, 0.25])
def test_as_many_graded_answers_as_planned_pass_with_the_planned_power(scatter: float) -> None:
    n = planned({scatter: 0.5, -scatter: 0.5}, MARGIN, False)
    assert n is not None
    random = np.random.default_rng(0)
    drawn = np.clip(0.5 + random.normal(0, scatter, (400, n)), 0, 1)
    assert 0.74 < np.mean([Pairs(d, [0.5] * n, range(n)).rule_out(MARGIN) for d in drawn]) < 0.88


def test_a_flawless_candidate_is_planned_with_59() -> None:
    assert planned({0.0: 1.0}, MARGIN, True) == planned({0.0: 1.0}, MARGIN, False) == 59


def test_a_smaller_margin_needs_more_and_a_candidate_that_is_worse_cannot_be_planned() -> None:
    even = {0.0: 0.96, 1.0: 0.02, -1.0: 0.02}
    wide, narrow = planned(even, 0.1, True), planned(even, 0.05, True)
    assert wide is not None and narrow is not None and wide < narrow
    assert planned({0.0: 0.94, -1.0: 0.06}, MARGIN, True) is None
    assert planned({-0.06: 1.0}, MARGIN, False) is None
    assert planned({0.0: 0.951, -1.0: 0.049}, MARGIN, True) is None, "a million examples are no plan"
    with pytest.raises(ValueError, match="make 0.9"):
        planned({0.0: 0.9}, MARGIN, True)


def drawn_pairs(random: np.random.Generator, n: int, kind: str) -> Pairs:
    if kind == "graded":
        return Pairs(np.clip(0.5 + random.normal(0, 0.2, n), 0, 1), [0.5] * n, range(n))
    length = 3 if kind == "conversations" else 1
    d = random.choice([-1.0, 1.0, 0.0], size=n, p=[0.03, 0.03, 0.94])
    return Pairs(np.maximum(d, 0), np.maximum(-d, 0), [at // length for at in range(n)], True)


@pytest.mark.parametrize("kind", ["separate", "conversations", "graded"])
def test_with_that_many_more_most_gates_of_an_equal_candidate_pass(kind: str) -> None:
    """Gates that failed for want of evidence, each asked again with as many more as it said: about 80 %.

    More than 80 % on the whole, because a gate that failed saw the candidate worse than it is.
    """
    random, passed = np.random.default_rng(4), []
    while len(passed) < 150:
        n = 45
        first = drawn_pairs(random, n, kind)
        more = None if first.rule_out(MARGIN) else more_needed(first, MARGIN)
        if more is not None:
            passed.append(drawn_pairs(random, n + more, kind).rule_out(MARGIN))
    assert np.mean(passed) > POWER - 0.1


def test_none_seen_in_twenty_is_not_none_at_all() -> None:
    same = Pairs([1.0] * 20, [1.0] * 20, range(20), True)
    more = more_needed(same, MARGIN)
    assert more is not None and 39 < more < 200


@pytest.mark.parametrize("right_or_wrong", [True, False])
def test_more_examples_do_not_help_what_is_worse_than_the_margin(right_or_wrong: bool) -> None:
    assert more_needed(Pairs([0.0] * 30, [1.0] * 30, range(30), right_or_wrong), MARGIN) is None
    barely = Pairs([0.0] * 5 + [1.0] * 95, [1.0] * 100, range(100), right_or_wrong)
    assert more_needed(barely, MARGIN) is None
