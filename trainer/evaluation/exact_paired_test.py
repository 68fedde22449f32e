"""An exact unconditional test for paired right-or-wrong answers of independent examples.

The score statistic of Tango (1998, Statistics in Medicine 17:891; Nam 1997, Biometrics 53:1422), with the largest
p-value over every share of discordant answers that the loss allows (as Liu, Hsueh, Hsieh and Chen 2002, Statistics in
Medicine 21:231). The statistic alone, against the normal quantile, passes up to 5.8 % at the margin. The largest is
found at the boundary, because better counts are never judged worse.
"""

from __future__ import annotations

import numpy as np
from scipy import special

# Shares of won answers at which the p-value is sought, denser near none, where it bends. With the allowance for what
# lies between them, at most 4.98 % of candidates at the margin pass (20 to 400 examples, sought at 400 other shares).
_SHARES = 200
ALLOWANCE = 0.0003


def p_value(won: int, lost: int, n: int, loss: float) -> float:
    """Largest chance of a result at least as good when the true loss is `loss` or more."""
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
