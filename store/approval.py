"""Decides which text of an answer people approved of, from its ratings and the decision that counts."""

from __future__ import annotations

from collections.abc import Sequence

from store.records import Decision, Rating, Ruling, Verdict


def correction_of(ratings: Sequence[Rating], decision: Decision | None) -> str | None:
    """What the answer should have been, as a reviewer decided or somebody wrote it last."""
    if decision is not None:
        return decision.correction
    corrected = [rating for rating in ratings if rating.correction is not None]
    return max(corrected, key=_when).correction if corrected else None


def approved_text(answer: str, ratings: Sequence[Rating], decision: Decision | None) -> str | None:
    """None where people did not approve of any text."""
    if decision is not None and decision.ruling is Ruling.REJECT:
        return None
    correction = correction_of(ratings, decision)
    if correction is not None:
        return correction
    verdicts = {rating.verdict for rating in ratings if rating.verdict is not None}
    return answer if decision is not None or verdicts == {Verdict.UP} else None


def _when(rating: Rating) -> tuple[float, str]:
    return rating.created_at, rating.id
