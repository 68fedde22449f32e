"""Intervals of scores, and the lower bound of the mean difference of paired scores, which holds for small samples.

Three tests, each of which lets a loss of exactly the margin pass in at most 5 % of gates, and none of which ever
refuses what is better answer by answer (`docs/gate.md` has the proofs and the numbers):

- scores of 0 and 1, one example a conversation: exact and unconditional (`p_value`);
- scores of 0 and 1, longer conversations: Gaffke's bound, whole conversations as its examples;
- graded scores: Gaffke's bound with half a pseudo-loss for all differences, and with a whole one for all of them or for
  the large ones alone.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

# A whole pseudo-loss is exact where answers are lost wholly or not at all. Among graded scores it costs power (60
# examples that scatter by 0.08 passed in 41 % of gates, with half of one in 92 %), and half of one alone lets 10 % pass
# where few are lost wholly. What a whole one says about the large differences alone mends that where the others scatter
# around nothing, and what it says about all where gains elsewhere make up for large losses.
_WHOLE, _HALF = 1.0, 0.5
# Losses from here on are few and jump, as scores of 0 and 1 do.
LARGE = 0.5
_SPLITS = 12  # halvings of what is left of the range: the bound is found to 0.0003
# Points of the contour integral: against 600 of them, 64 err by less than 0.0000001 wherever the chance is below 0.3.
_STEPS, _REACH = 64, 8.0
POWER = 0.8  # of the number of examples that is asked for
# More than this nobody collects to tell two candidates apart: one of them must get better.
_MOST_MORE = 5_000

# Shares of won answers at which the p-value is sought, denser near none, where it bends. With the allowance for what
# lies between them, at most 4.98 % of candidates at the margin pass (20 to 400 examples, sought at 400 other shares).
_SHARES = 200
ALLOWANCE = 0.0003


@dataclass(frozen=True)
class Interval:
    """A mean score with its 95 % confidence interval, all between 0 and 1."""

    mean: float
    low: float
    high: float


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
    def error(self) -> float:
        """Standard error of the mean difference, with conversations as the independent units."""
        count, total = len(self.sizes), float(self.sizes.sum())
        residuals = self.sums - self.sums.sum() / total * self.sizes
        return float(np.sqrt(count / max(1, count - 1) * np.sum(residuals**2)) / total)

    def rule_out(
        self, loss: float, confidence: float = 0.95, copies: float = 1.0, lowered: float = 0.0
    ) -> bool:
        """Whether a true loss of `loss` or more (a gain, when negative) would so rarely look so good.

        For a plan: the same with `copies` times as many examples that score `lowered` less.
        """
        level = 1 - confidence
        if self.right_or_wrong and len(self.sizes) == len(self.differences):  # one answer a conversation
            n = round(copies * len(self.differences))
            won, lost = copies * np.sum(self.differences > 0), copies * np.sum(self.differences < 0)
            taken = min(won, lowered * n / 2)
            return p_value(int(won - taken), math.ceil(lost + lowered * n - taken), n, loss) <= level
        weights = np.full(len(self.sizes), copies)
        sums, large = self.sums - lowered * self.sizes, self.large - lowered * self.sizes
        if self.right_or_wrong:
            return _gaffke_rules_out(sums, self.sizes, weights, loss, level)
        return _gaffke_rules_out(sums, self.sizes, weights, loss, level, _HALF) and (
            _gaffke_rules_out(large, self.sizes, weights, loss, level)
            or _gaffke_rules_out(sums, self.sizes, weights, loss, level)
        )

    def lower_bound(self, margin: float, confidence: float = 0.95) -> float:
        """Of the true mean difference.

        It lies above -margin exactly when a loss of `margin` is ruled out, and above 0 exactly when “no better” is.
        """
        low, high = -1.0, 1.0
        # The same points are asked whatever the scores are, so that better scores cannot end up lower.
        points = [-margin, 0.0]
        for split in range(len(points) + _SPLITS):
            point = points[split] if split < len(points) else (low + high) / 2
            if low < point < high:
                low, high = (point, high) if self.rule_out(-point, confidence) else (low, point)
        return (low + high) / 2

    def more_needed(self, margin: float, confidence: float = 0.95) -> int | None:
        """About how many more examples would pass four times of five, if they come out like these.

        Asks the test itself about ever more copies of these examples, as bad as the worst fifth of such samples. None
        when more would not help: it looks worse than the margin, or so close to it that thousands could hardly tell.
        """
        n, conversations = len(self.differences), len(self.sizes)
        # Half a conversation won and half a one lost are added to the scatter: none seen in 20 is not none at all.
        scatter = math.sqrt(conversations * self.error**2 + 1 / conversations)
        reach, most = float(stats.norm.ppf(POWER)) * scatter, (n + _MOST_MORE) / n
        if self.differences.mean() - reach / math.sqrt(conversations * most) <= -margin:
            return None
        copies = 1.1
        while copies <= most:
            if self.rule_out(margin, confidence, copies, reach / math.sqrt(conversations * copies)):
                return max(1, math.ceil(n * (copies - 1)))
            copies *= 1.1
        return None


def _gaffke_rules_out(
    sums: np.ndarray, sizes: np.ndarray, copies: np.ndarray, loss: float, level: float, weight: float = _WHOLE
) -> bool:
    """Gaffke's bound over conversations, whose differences are summed.

    The pseudo-loss is as long as the conversation that an answer drawn at random belongs to: long ones can lose more at
    once.
    """
    pseudo = float(copies @ sizes**2 / (copies @ sizes))
    return gaffke_p_value(sums, sizes, copies, -loss, pseudo, weight) <= level


def gaffke_p_value(
    sums: np.ndarray, sizes: np.ndarray, copies: np.ndarray, value: float, pseudo: float, weight: float
) -> float:
    """Chance of a mean of bounded differences at or below `value` (between -1 and 1).

    Each cluster gets a random weight (an exponential variable), and so does one more of size `pseudo` that lost all
    there is to lose (Gaffke 2005, "Three test statistics for a nonparametric one-sided hypothesis on the mean of a
    nonnegative variable"; Learned-Miller and Thomas 2020, arXiv:1905.06208). `copies` is how often each cluster counts,
    `weight` how often the lost one: 1 is Clopper and Pearson's choice, 1/2 Jeffreys'. The chance of their weighted mean
    is computed from its moment generating function along the saddle's contour (Rice 1980, SIAM J. Sci. Stat. Comput.
    1:438).
    """
    terms, place = np.unique(sums - value * sizes, return_inverse=True)
    counts = np.bincount(place, weights=copies)
    terms = np.append(terms, -(1 + value) * pseudo)
    weights = np.append(counts, weight)
    if terms.max() <= 0:
        return 1.0
    if terms.min() >= 0:
        return 0.0
    terms = terms / float(np.sqrt(np.sum(weights * terms**2)))
    point = _saddle_point(terms, weights)
    curvature = float(np.sum(weights * (terms / (1 - point * terms)) ** 2)) + 1 / point**2
    x = np.linspace(0.0, _REACH, _STEPS)
    contour = point + 1j * np.sinh(x) / np.sqrt(curvature)
    height = np.exp(-np.log(1 - np.multiply.outer(contour, terms)) @ weights) / -contour
    area = np.trapezoid(height.real * np.cosh(x), x) / np.sqrt(curvature)
    return float(min(1.0, max(0.0, area / np.pi)))


def _saddle_point(terms: np.ndarray, weights: np.ndarray) -> float:
    """Where the integrand is smallest on the negative axis: a convex function, so bisection of its slope finds it.

    Any point there gives the same integral; near the smallest it needs the fewest steps.
    """
    low, high = 1 / float(terms.min()), 0.0
    for _ in range(25):
        point = (low + high) / 2
        slope = float(np.sum(weights * terms / (1 - point * terms))) - 1 / point
        low, high = (low, point) if slope > 0 else (point, high)
    return (low + high) / 2


def interval(scores: Sequence[float], clusters: Sequence[Hashable]) -> Interval:
    """Two-sided interval of a mean score: Student's t on conversations, with one pseudo-score at each end of the scale.

    Wider than Student's where all scores are alike (as Agresti and Coull 1998 for a proportion).
    """
    mean = float(np.mean(scores))
    sums, sizes = _by_cluster(np.asarray(scores, dtype=float), clusters)
    residuals = np.concatenate([sums - mean * sizes, [0.0 - mean, 1.0 - mean]])
    count = len(residuals)
    error = float(np.sqrt(count / (count - 1) * np.sum(residuals**2)) / (sizes.sum() + 2))
    reach = float(stats.t.ppf(0.975, count - 1)) * error
    return Interval(mean, max(0.0, mean - reach), min(1.0, mean + reach))


def _by_cluster(values: np.ndarray, clusters: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """Sum and size of each cluster, in order of first appearance."""
    number: dict[Hashable, int] = {}
    index = np.array([number.setdefault(cluster, len(number)) for cluster in clusters])
    return np.bincount(index, weights=values), np.bincount(index).astype(float)


def p_value(won: int, lost: int, n: int, loss: float) -> float:
    """Largest chance of a result at least as good when the true loss is `loss` or more: an exact unconditional test.

    The score statistic of Tango (1998, Statistics in Medicine 17:891; Nam 1997, Biometrics 53:1422), with the largest
    p-value over every share of discordant answers that the loss allows (as Liu, Hsueh, Hsieh and Chen 2002, Statistics
    in Medicine 21:231). The statistic alone, against the normal quantile, passes up to 5.8 % at the margin. The largest
    is found at the boundary, because better counts are never judged worse.
    """
    if not -1 < loss < 1:
        return 0.0 if loss >= 1 else 1.0
    statistic = float(_score(np.array([won]), np.array([lost]), n, loss)[0])
    if statistic <= 0:
        return 1.0
    # A hair below: a result is at least as good as itself, whatever the rounding.
    return min(1.0, largest_chance(most_lost(statistic - 1e-9, n, loss), n, loss) + ALLOWANCE)


def _score(won: np.ndarray, lost: np.ndarray, n: int, loss: float) -> np.ndarray:
    """Distance of the counts from the loss, in standard errors under it (the share won by maximum likelihood)."""
    b = (won + lost) * (1 - loss) - 2 * loss * (n - lost)
    root = np.sqrt(np.maximum(b * b + 8.0 * n * won * loss * (1 - loss), 0.0))
    share = (b + root) / (4.0 * n)
    share = np.maximum(share, max(0.0, -loss))
    variance = n * (2 * share + loss - loss * loss)
    distance = won - lost + n * loss
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(variance > 1e-12, distance / np.sqrt(variance), 0.0))


def most_lost(threshold: float, n: int, loss: float) -> np.ndarray:
    """For each number won, the most lost with a score of the threshold or more (> 0: the score falls with losses)."""
    won = np.arange(n + 1)
    low, high = np.full(n + 1, -1), n - won  # low passes (or is -1), high + 1 does not
    while np.any(low < high):
        middle = (low + high + 1) // 2
        reached = _score(won, middle, n, loss) >= threshold
        low, high = np.where(reached, middle, low), np.where(reached, high, middle - 1)
    return np.asarray(np.minimum(np.maximum.accumulate(low), n - won))


def largest_chance(most_lost: np.ndarray, n: int, loss: float) -> float:
    least, most = max(0.0, -loss), (1 - loss) / 2
    won = least + (most - least) * np.linspace(0.0, 1.0, _SHARES) ** 2.5
    return float(chance(most_lost, n, won, won + loss).max())


def chance(most_lost: np.ndarray, n: int, won: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Chance of counts within the critical ones, for each pair of true shares."""
    counts = np.flatnonzero(most_lost >= 0)
    if not len(counts):
        return np.zeros(len(won))
    logs = special.gammaln(n + 1) - special.gammaln(counts + 1) - special.gammaln(n - counts + 1)
    wins = np.exp(logs + special.xlogy(counts, won[:, None]) + special.xlogy(n - counts, 1 - won[:, None]))
    at, count = np.nonzero(wins > 1e-12)  # a tenth of the table; what is left out adds up to nothing
    rest = np.clip(lost / np.maximum(1 - won, 1e-300), 0.0, 1.0)[at]
    # The binomial distribution as the incomplete beta function, three times as fast as scipy.stats' own.
    allowed, left = most_lost[counts][count], (n - counts)[count]
    losses = np.where(
        allowed < left, special.betainc(np.maximum(left - allowed, 1), allowed + 1.0, 1 - rest), 1.0
    )
    return np.bincount(at, weights=wins[at, count] * losses, minlength=len(won))
