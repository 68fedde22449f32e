"""How many gate examples prove a margin, by the very tests of the gate: plan and verdict cannot disagree."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from trainer.evaluation import exact_paired_test
from trainer.evaluation.statistics import LARGE, Pairs, gaffke_rules_out, graded_rules_out

POWER = 0.8
# More gate examples than this nobody collects to tell two candidates apart: one of them must get better.
_MOST = 5_000
# From here on the gate's own test takes seconds, and needs 2 to 11 % more than the textbook's sample size.
_TEXTBOOK, _MORE = 1_000, 1.1
# Half a conversation won and half a one lost are added to what was seen: none seen in 20 is not none at all.
_UNSEEN = 0.5


@dataclass(frozen=True)
class _Plan:
    """A question to the gate's own test, whether n are enough, and a first guess at the answer."""

    enough: Callable[[int], bool]
    guess: float


def planned(
    expected: Mapping[float, float],
    margin: float,
    right_or_wrong: bool,
    power: float = POWER,
    confidence: float = 0.95,
) -> int | None:
    """Gate examples that rule out a loss of `margin` with `power`, one example a conversation.

    `expected` maps each difference of scores to its share: {0: 0.96, 1: 0.02, -1: 0.02} for an equal candidate that
    differs in 4 % of its answers, {-0.1: 0.5, 0.1: 0.5} for graded scores that scatter by 0.1.
    """
    values, shares = np.array(list(expected), dtype=float), np.array(list(expected.values()))
    if not math.isclose(shares.sum(), 1.0, abs_tol=1e-6):
        raise ValueError(f"The shares of the differences must add up to 1, but they make {shares.sum():g}.")
    if right_or_wrong:
        won, lost = float(shares[values > 0].sum()), float(shares[values < 0].sum())
        plan = _by_proportions(won, lost, margin, power, confidence)
    else:
        large = np.where(np.abs(values) >= LARGE, values, 0.0)
        plan = _by_means(values, large, np.ones(len(values)), shares, False, margin, power, confidence)
    return _least(plan, _MOST)


def more_needed(pairs: Pairs, margin: float, power: float = POWER, confidence: float = 0.95) -> int | None:
    """About how many more examples let the gate pass with `power`, if the candidate is what it looks like.

    None when more would not help: it looks worse than the margin, or so close to it that thousands could hardly tell
    the two apart.
    """
    examples, conversations = len(pairs.differences), len(pairs.sizes)
    if pairs.right_or_wrong and pairs.are_independent:
        won, lost = ((count + _UNSEEN) / (examples + 2 * _UNSEEN) for count in pairs.won_and_lost)
        least = _least(_by_proportions(won, lost, margin, power, confidence), examples + _MOST)
        return None if least is None else max(1, least - examples)
    size = examples / conversations
    unseen = size * (1.0 if pairs.right_or_wrong else LARGE) * np.array([1.0, -1.0])
    plan = _by_means(
        np.append(pairs.sums, unseen),
        np.append(pairs.large, unseen),
        np.append(pairs.sizes, [size, size]),
        np.append(np.ones(conversations), [_UNSEEN, _UNSEEN]) / (conversations + 2 * _UNSEEN),
        pairs.right_or_wrong,
        margin,
        power,
        confidence,
    )
    least = _least(plan, conversations + _MOST)
    return None if least is None else max(1, math.ceil(least * size) - examples)


def _by_proportions(won: float, lost: float, margin: float, power: float, confidence: float) -> _Plan | None:
    """For independent answers, right or wrong, won and lost with these shares; None when they lose too much."""
    if won - lost <= -margin:
        return None
    return _Plan(
        lambda n: exact_paired_test.power(n, won, lost, margin, 1 - confidence) >= power,
        _guess(won + lost - (won - lost) ** 2, margin + won - lost, margin, power, confidence),
    )


def _by_means(
    sums: np.ndarray,
    large: np.ndarray,
    sizes: np.ndarray,
    shares: np.ndarray,
    right_or_wrong: bool,
    margin: float,
    power: float,
    confidence: float,
) -> _Plan | None:
    """Whether n conversations are enough: whether the gate passes a sample that is as bad as the (1 - power) worst.

    Such a sample has the expected shape and a mean lower by as many standard errors as the normal distribution says.
    """
    size = float(shares @ sizes)
    mean = float(shares @ sums) / size
    if mean <= -margin:
        return None
    z = float(stats.norm.ppf(power))

    def variance(values: np.ndarray) -> float:
        return float(shares @ (values - float(shares @ values) / size * sizes) ** 2) / size**2

    def lowered(values: np.ndarray, n: int) -> np.ndarray:
        return values - z * math.sqrt(variance(values) / n) * sizes

    def enough(n: int) -> bool:
        copies, level = n * shares, 1 - confidence
        if right_or_wrong:
            return gaffke_rules_out(lowered(sums, n), sizes, copies, margin, level)
        return graded_rules_out(lowered(sums, n), lowered(large, n), sizes, copies, margin, level)

    return _Plan(enough, _guess(variance(sums), margin + mean, margin, power, confidence))


def _guess(variance: float, distance: float, margin: float, power: float, confidence: float) -> float:
    """The textbook's sample size, and what a flawless candidate needs."""
    z = float(stats.norm.ppf(confidence) + stats.norm.ppf(power))
    return max(variance * (z / distance) ** 2, math.log(1 - confidence) / math.log(1 - margin))


def _least(plan: _Plan | None, most: int) -> int | None:
    """The least n that is enough, to 2 %; None when `most` are not."""
    if plan is None or plan.guess > most:
        return None
    if plan.guess > _TEXTBOOK:
        return math.ceil(_MORE * plan.guess)
    low, high = 0, min(most, math.ceil(plan.guess))
    while not plan.enough(high):
        if high >= most:
            return None
        low, high = high, min(most, math.ceil(1.25 * high))
    if not low:
        low = int(high / 1.25)
        while low and plan.enough(low):
            low, high = int(low / 1.25), low
    while high - low > max(1, high // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if plan.enough(middle) else (middle, high)
    return high
