"""The scorers of an assistant: an answer and an approved text give a number between 0 and 1."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sacrebleu.metrics import BLEU, CHRF

from trainer.evaluation.judge_model import ScorerFailed, judge
from trainer.evaluation.sql import same_rows

__all__ = ["SCORERS", "Scorer", "ScorerFailed", "UnknownScorer", "right_or_wrong", "scorer"]

Scorer = Callable[[str, str], float]

_chrf = CHRF()
_bleu = BLEU(effective_order=True)  # sentence level: orders without a match do not zero the whole


class UnknownScorer(Exception):
    """No scorer has that name, or it names something that is not there; the message says what to write instead."""


def scorer(name: str) -> Scorer:
    """The scorer of an assistant: one of SCORERS, `sql:/path/to.sqlite` or `judge:<base url>#<model>`.

    Raises UnknownScorer.
    """
    if name in SCORERS:
        return SCORERS[name]
    kind, colon, rest = name.partition(":")
    try:
        if colon and kind in _MADE:
            return _MADE[kind](rest)
    except ValueError as error:
        raise UnknownScorer(f"The scorer {name!r} cannot be used: {error}") from error
    raise UnknownScorer(
        f"There is no scorer {name!r}. Choose one of: {', '.join(SCORERS)}, sql:/path/to.sqlite, "
        "judge:http://host:port#model."
    )


def right_or_wrong(name: str) -> bool:
    """Whether a scorer gives 0 or 1 and nothing between, which the gate's test makes use of."""
    return name.partition(":")[0] in ("exact", "json", "sql")


def exact(answer: str, approved: str) -> float:
    """1 when the texts agree up to surrounding space."""
    return float(answer.strip() == approved.strip())


def chrf(answer: str, approved: str) -> float:
    """chrF2, character n-grams up to 6 (Popović 2015)."""
    return min(1.0, float(_chrf.sentence_score(answer, [approved]).score) / 100)  # 100.00000000000004 occurs


def bleu(answer: str, approved: str) -> float:
    """Sentence BLEU-4 with effective order (Papineni et al. 2002; Chen and Cherry 2014)."""
    return min(1.0, float(_bleu.sentence_score(answer, [approved]).score) / 100)


def json_match(answer: str, approved: str) -> float:
    """1 when both are JSON with equal values, whatever their layout and key order."""
    try:
        return float(_same(json.loads(answer), json.loads(approved)))
    except (ValueError, RecursionError):  # no JSON, or brackets a thousand deep
        return 0.0


def _same(one: Any, other: Any) -> bool:
    """Equality as JSON has it: 1 and 1.0 are one number, but `true` is not 1, which Python thinks it is."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


SCORERS: dict[str, Scorer] = {"chrf": chrf, "exact": exact, "bleu": bleu, "json": json_match}
_MADE: dict[str, Callable[[str], Scorer]] = {"sql": same_rows, "judge": judge}
