"""An answer and its approved completion to a score between 0 and 1.

In: two texts. Out: a float. Pure; `sacrebleu` (chrF and BLEU as the field reports them) lives here alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from sacrebleu.metrics import BLEU, CHRF

Scorer = Callable[[str, str], float]

_chrf = CHRF()
_bleu = BLEU(effective_order=True)  # sentence level: orders without a match do not zero the whole


class UnknownScorer(Exception):
    """No scorer has that name; the message lists those that exist."""


def scorer(name: str) -> Scorer:
    """The scorer of an assistant; raises UnknownScorer."""
    if name not in SCORERS:
        raise UnknownScorer(f"There is no scorer {name!r}. Choose one of: {', '.join(SCORERS)}.")
    return SCORERS[name]


def exact(answer: str, approved: str) -> float:
    """1 when the texts agree up to surrounding space."""
    return float(answer.strip() == approved.strip())


def chrf(answer: str, approved: str) -> float:
    """chrF2, character n-grams up to 6 (Popović 2015)."""
    return float(_chrf.sentence_score(answer, [approved]).score) / 100


def bleu(answer: str, approved: str) -> float:
    """Sentence BLEU-4 with effective order (Papineni et al. 2002; Chen and Cherry 2014)."""
    return float(_bleu.sentence_score(answer, [approved]).score) / 100


def json_match(answer: str, approved: str) -> float:
    """1 when both are JSON with equal values, whatever their layout and key order."""
    try:
        return float(json.loads(answer) == json.loads(approved))
    except ValueError:
        return 0.0


SCORERS: dict[str, Scorer] = {"chrf": chrf, "exact": exact, "bleu": bleu, "json": json_match}
