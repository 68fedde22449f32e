"""Intervals of scores, and the lower bound of the mean difference of paired scores, which holds for small samples.

Three tests, each of which lets a loss of exactly the margin pass in at most 5 % of gates, and none of which ever
refuses what is better answer by answer (`docs/gate.md` has the proofs and the numbers):

- scores of 0 and 1, one example a conversation: exact and unconditional (`exact_paired_test`);
- scores of 0 and 1, longer conversations: Gaffke's bound (`gaffke_bound`), whole conversations as its examples;
- graded scores: Gaffke's bound with half a pseudo-loss for all differences, and with a whole one for all of them or for
  the large ones alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from trainer.evaluation.exact_paired_test import p_value
from trainer.evaluation.gaffke_bound import gaffke_p_value

# A whole pseudo-loss is exact where answers are lost wholly or not at all. Among graded scores it costs power (60
# examples that scatter by 0.08 passed in 41 % of gates, with half of one in 92 %), and half of one alone lets 10 % pass
# where few are lost wholly. What a whole one says about the large differences alone mends that where the others scatter
# around nothing, and what it says about all where gains elsewhere make up for large losses.
_WHOLE, _HALF = 1.0, 0.5
# Losses from here on are few and jump, as scores of 0 and 1 do.
LARGE = 0.5
_SPLITS = 12  # halvings of what is left of the range: the bound is found to 0.0003


@dataclass(frozen=True)
class Interval:
    """A mean score with its 95 % confidence interval, all between 0 and 1."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Mean paired difference of scores, the one-sided lower bound of its true value, and its standard error."""

    mean: float
    lower: float
    error: float


class Pairs:
    """Differences of scores over the same examples, summed by conversation."""

    def __init__(
        self,
        candidate: Sequence[float],
        reference: Sequence[float],
        clusters: Sequence[Hashable],
        right_or_wrong: bool = False,
    ):
        """`right_or_wrong`: the scorer gives 0 or 1 and nothing between."""
        if not len(candidate) == len(reference) == len(clusters) or not len(candidate):
            raise ValueError(
                f"Scores must be paired: {len(candidate)} of the candidate, {len(reference)} of the reference, "
                f"{len(clusters)} conversations."
            )
        one, other = np.asarray(candidate, dtype=float), np.asarray(reference, dtype=float)
        scores = np.concatenate([one, other])
        fits = (scores == 0) | (scores == 1) if right_or_wrong else (scores >= 0) & (scores <= 1)
        if not fits.all():
            allowed = "0 or 1" if right_or_wrong else "between 0 and 1"
            raise ValueError(f"A score is {scores[~fits][0]}, but this scorer's scores are {allowed}.")
        self.differences = one - other
        self.right_or_wrong = right_or_wrong
        self.sums, self.sizes = _by_cluster(self.differences, clusters)
        self.large, _ = _by_cluster(
            np.where(np.abs(self.differences) >= LARGE, self.differences, 0.0), clusters
        )

    @property
    def are_independent(self) -> bool:
        return len(self.sizes) == len(self.differences)

    @property
    def won_and_lost(self) -> tuple[int, int]:
        """Answers of which the candidate scored more, and less."""
        return int(np.sum(self.differences > 0)), int(np.sum(self.differences < 0))

    @property
    def error(self) -> float:
        """Standard error of the mean difference, with conversations as the independent units."""
        count, total = len(self.sizes), float(self.sizes.sum())
        residuals = self.sums - self.sums.sum() / total * self.sizes
        return float(np.sqrt(count / max(1, count - 1) * np.sum(residuals**2)) / total)

    def rule_out(self, loss: float, confidence: float = 0.95) -> bool:
        """Whether a true loss of `loss` or more (a gain, when negative) would so rarely look so good."""
        level = 1 - confidence
        if self.right_or_wrong and self.are_independent:
            return p_value(*self.won_and_lost, len(self.differences), loss) <= level
        copies = np.ones(len(self.sizes))
        if self.right_or_wrong:
            return gaffke_rules_out(self.sums, self.sizes, copies, loss, level)
        return graded_rules_out(self.sums, self.large, self.sizes, copies, loss, level)


def gaffke_rules_out(
    sums: np.ndarray, sizes: np.ndarray, copies: np.ndarray, loss: float, level: float, weight: float = _WHOLE
) -> bool:
    """Gaffke's bound over conversations, whose differences are summed.

    `copies` is how often each conversation counts: once, or more where a plan looks ahead. The pseudo-loss is as long
    as the conversation that an answer drawn at random belongs to: long ones can lose more at once.
    """
    pseudo = float(copies @ sizes**2 / (copies @ sizes))
    return gaffke_p_value(sums, sizes, copies, -loss, pseudo, weight) <= level


def graded_rules_out(
    sums: np.ndarray,
    large: np.ndarray,
    sizes: np.ndarray,
    copies: np.ndarray,
    loss: float,
    level: float,
) -> bool:
    """Half a pseudo-loss for all, and a whole one for all or for the large ones (`large` are their sums)."""
    return gaffke_rules_out(sums, sizes, copies, loss, level, _HALF) and (
        gaffke_rules_out(large, sizes, copies, loss, level)
        or gaffke_rules_out(sums, sizes, copies, loss, level)
    )


def difference(
    candidate: Sequence[float],
    reference: Sequence[float],
    clusters: Sequence[Hashable],
    margin: float,
    right_or_wrong: bool = False,
    confidence: float = 0.95,
) -> Difference:
    """Mean of candidate - reference over the same examples, and the lower bound of its true value.

    The bound lies above -margin exactly when a loss of `margin` is ruled out, and above 0 exactly when “no better” is.
    """
    pairs = Pairs(candidate, reference, clusters, right_or_wrong)
    low, high = -1.0, 1.0
    # The same points are asked whatever the scores are, so that better scores cannot end up lower.
    points = [-margin, 0.0]
    for split in range(len(points) + _SPLITS):
        point = points[split] if split < len(points) else (low + high) / 2
        if low < point < high:
            better = pairs.rule_out(-point, confidence)
            low, high = (point, high) if better else (low, point)
    return Difference(float(pairs.differences.mean()), (low + high) / 2, pairs.error)


def interval(scores: Sequence[float], clusters: Sequence[Hashable], confidence: float = 0.95) -> Interval:
    """Two-sided interval of a mean score: Student's t on conversations, with one pseudo-score at each end of the scale.

    Wider than Student's where all scores are alike (as Agresti and Coull 1998 for a proportion).
    """
    mean = float(np.mean(scores))
    sums, sizes = _by_cluster(np.asarray(scores, dtype=float), clusters)
    residuals = np.concatenate([sums - mean * sizes, [0.0 - mean, 1.0 - mean]])
    count = len(residuals)
    error = float(np.sqrt(count / (count - 1) * np.sum(residuals**2)) / (sizes.sum() + 2))
    reach = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * error
    return Interval(mean, max(0.0, mean - reach), min(1.0, mean + reach))


def _by_cluster(values: np.ndarray, clusters: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """Sum and size of each cluster, in order of first appearance."""
    number: dict[Hashable, int] = {}
    index = np.array([number.setdefault(cluster, len(number)) for cluster in clusters])
    return np.bincount(index, weights=values), np.bincount(index).astype(float)
