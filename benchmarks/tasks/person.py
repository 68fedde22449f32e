"""The simulated person: an answer and the right ones to a rating, as somebody might give it who knows them.

In: a question's id, an answer, references. Out: an Opinion. Pure, and the same for the same id and seed, so that a run
that is taken up again goes on with the same person. Does not know how an answer came to be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from store.records import Verdict
from trainer.proof.approvals import best
from trainer.proof.scorers import Scorer

RATER = "simulated"
# The score from which an answer is good. Sentences can be said in many ways; the rest is right or wrong.
THRESHOLDS = {"exact": 1.0, "json": 1.0, "sql": 1.0, "chrf": 0.6, "bleu": 0.4, "judge": 0.7}
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Opinion:
    """What the person makes of an answer; `correction` is what they write instead, if they do."""

    verdict: Verdict
    score: float
    correction: str | None = None


@dataclass(frozen=True)
class Person:
    """Rates up from `threshold` on, and corrects the share `corrects` of what is below it."""

    scorer: Scorer
    threshold: float
    corrects: float
    seed: int

    def rate(self, question_id: str, answer: str, references: Sequence[str]) -> Opinion:
        score = best(self.scorer, answer, references)
        if score >= self.threshold - _ROUNDING:
            return Opinion(Verdict.UP, score)
        takes_the_time = _draw(self.seed, question_id) < self.corrects
        return Opinion(Verdict.DOWN, score, references[0] if takes_the_time else None)


def threshold_of(scorer_name: str) -> float:
    """The threshold of a scorer by the name that an assistant has it under, such as sql:/path."""
    return THRESHOLDS[scorer_name.partition(":")[0]]


def _draw(seed: int, question_id: str) -> float:
    """A number from 0 to below 1 that looks random and depends on nothing else."""
    digest = hashlib.sha256(f"{seed}:{question_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) / 2**64
