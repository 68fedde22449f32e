"""How far two ways of answering the same questions lie apart, bounded on both sides by the gate's own statistics. Pure.

In: two lists of scores, question by question. Out: a mean difference and its bounds. Place in the flow: under `effects`
and `poisoning`. Does not know what was scored.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainer.proof.statistics import difference


def apart(
    ours: Sequence[float], theirs: Sequence[float], margin: float, is_right_or_wrong: bool, side: float = 0.95
) -> tuple[float, float, float]:
    """Mean of ours - theirs, and the bounds below and above its true value, each with confidence `side`.

    `margin`: of what the bounds should be exact about; see `difference`. Raises ValueError as that does.
    """

    def one_way(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
        found = difference(a, b, range(len(a)), margin, is_right_or_wrong, side)
        return found.mean, found.lower

    mean, low = one_way(ours, theirs)
    return mean, low, -one_way(theirs, ours)[1]
