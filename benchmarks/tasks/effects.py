"""What a variant of the trainer does to the answers: its difference to the defaults over the same questions. Pure.

In: the body of an ablation. Out: an `Effect` for each variant, without a prompt. Place in the flow: under
`ablation_report`. Does not know how anything was trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.tasks.apart import apart
from benchmarks.tasks.variants import VARIANTS
from trainer.proof.scorers import right_or_wrong

DEFAULTS, BASE = "defaults", "base model"
_END = "shortest"
_MARGIN = 0.05  # what a bound on one side asks for; changes no bound of an interval
_SIDE = 0.975  # confidence on each side: 95 % on both

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Effect:
    """Quality without a prompt, and that less the defaults' with its 95 % interval, all of 1.

    `less` is None for the defaults themselves and where a question has no score.
    """

    variant: str
    question: str
    quality: float
    less: tuple[float, float, float] | None

    @property
    def is_clear(self) -> bool:
        """Zero lies outside of the interval."""
        return self.less is not None and not self.less[1] <= 0 <= self.less[2]


def in_order(names: Iterable[str]) -> list[str]:
    """Each once, as the ablation's list of variants has them, whatever was run first; others follow."""
    places = {name: place for place, name in enumerate(VARIANTS)}
    return sorted(dict.fromkeys(names), key=lambda name: places.get(name, len(places)))


def effects(body: Body) -> list[Effect]:
    """In the order of the result; without the base model and what diverged. Raises KeyError without defaults."""
    scores = body["variants"][DEFAULTS]["scores"][_END]
    return [
        Effect(
            name,
            found["question"],
            found["quality"][_END]["mean"],
            None
            if name == DEFAULTS
            else _less(found["scores"][_END], scores, right_or_wrong(body["task"]["scorer"])),
        )
        for name, found in body["variants"].items()
        if name != BASE and "quality" in found and found["quality"][_END]
    ]


def _less(
    ours: Sequence[float | None], theirs: Sequence[float | None], is_right_or_wrong: bool
) -> tuple[float, float, float] | None:
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    if len(pairs) < len(ours):
        return None
    return apart([a for a, _ in pairs], [b for _, b in pairs], _MARGIN, is_right_or_wrong, _SIDE)
