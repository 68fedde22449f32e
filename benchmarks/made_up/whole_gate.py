"""Whole gates of known truth: the chance that a variant is promoted which is worse by the margin.

The trainer's own decisions over three shorter variants and two references, with scores that are correlated as they are
when a question is easy or hard for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.evaluation.gate import Answers, VariantVerdict, decide, test_variant

MARGIN, EXAMPLES = 0.05, 100


@dataclass(frozen=True)
class Truth:
    """The share of answers that each variant gets right, the full prompt first, and which is the first bad one."""

    name: str
    right: tuple[float, ...]
    bad_from: int
    graded: bool


# A right answer scores 0.6 more than a wrong one where scores are graded, so that 8.3 % fewer are a loss of 5 points.
TRUTHS = [
    Truth("worse from variant 1", (0.97, 0.92, 0.92, 0.92), 1, False),
    Truth("worse at variant 2", (0.97, 0.97, 0.92, 0.90), 2, False),
    Truth("worse from variant 1, graded", (0.97, 0.97 - MARGIN / 0.6, 0.85, 0.80), 1, True),
    Truth("worse at variant 3, graded", (0.97, 0.97, 0.97, 0.97 - MARGIN / 0.6), 3, True),
]


def promotes_worse(truth: Truth, gates: int, seed: int) -> float:
    """The share of gates that promote a variant which is truly worse by the margin or more."""
    random = np.random.default_rng(seed)
    return sum(_one(truth, random) >= truth.bad_from for _ in range(gates)) / gates


def _one(truth: Truth, random: np.random.Generator) -> int:
    """The variant that one gate promotes; -1 when it promotes none."""
    texts = tuple(f"answer {number}" for number in range(EXAMPLES))
    easy = random.random(EXAMPLES)

    def answers(right: float, tokens: int) -> Answers:
        own = np.where(random.random(EXAMPLES) < 0.85, easy, random.random(EXAMPLES))
        scores = (own < right).astype(float)
        if truth.graded:
            scores = 0.2 + 0.6 * scores + 0.2 * random.random(EXAMPLES)
        return Answers(texts, tuple(scores.tolist()), tokens)

    references = {name: answers(truth.right[0], 100) for name in ("base_full", "active")}
    variants: list[VariantVerdict] = []
    for number, right in enumerate(truth.right):
        found = answers(right, 100 - 10 * number)
        variants.append(test_variant(number, (), found, references, texts, texts, MARGIN, not truth.graded))
        if number == 0:
            references = {**references, "candidate_full": found}
        if not variants[-1].passed:
            break
    verdict = decide(variants, 100, True, MARGIN)
    return verdict.chosen.variant if verdict.promoted and verdict.chosen else -1


def chances(gates: int, seed: int, wanted: Sequence[Truth] = TRUTHS) -> dict[str, float]:
    return {truth.name: promotes_worse(truth, gates, seed) for truth in wanted}
