"""The approval rule: which text, if any, people's ratings and a reviewer's decision approve of.

A reviewer's decision outranks all ratings. Without one the latest correction counts; else the answer as given, where it
is rated up and nobody rated it down. An unrated answer is never approved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from store.records import Decision, Rating, Ruling, Verdict


class NotApproved(StrEnum):
    """Why people approve of no text."""

    UNRATED = "no rating left: it was taken back"
    REJECTED = "rejected by a reviewer"
    RATED_DOWN = "rated down, and nobody wrote the right answer"


@dataclass(frozen=True)
class Approval:
    """The text to learn. `rater` wrote it, or approved of the answer as given."""

    text: str
    corrected: bool
    rater: str
    reviewed: bool = False


def approval(
    answer: str, ratings: Sequence[Rating], decision: Decision | None = None
) -> Approval | NotApproved:
    """`ratings` are the latest of each rater."""
    if decision is not None:
        return _decided(answer, ratings, decision)
    corrections = [rating for rating in ratings if rating.correction is not None]
    if corrections:
        latest = max(corrections, key=_when)
        return Approval(latest.correction or "", True, latest.rater)
    verdicts = [rating for rating in ratings if rating.verdict is not None]
    if not verdicts:
        return NotApproved.UNRATED
    if any(rating.verdict is Verdict.DOWN for rating in verdicts):
        return NotApproved.RATED_DOWN
    return Approval(answer, False, max(verdicts, key=_when).rater)


def approved_text(answer: str, ratings: Sequence[Rating], decision: Decision | None) -> str | None:
    """The text to learn, None where people approve of none."""
    found = approval(answer, ratings, decision)
    return found.text if isinstance(found, Approval) else None


def correction_of(ratings: Sequence[Rating], decision: Decision | None) -> str | None:
    """What the answer should have been, as a reviewer decided or somebody wrote it last."""
    if decision is not None:
        return decision.correction
    found = approval("", ratings)
    return found.text if isinstance(found, Approval) and found.corrected else None


def _decided(answer: str, ratings: Sequence[Rating], decision: Decision) -> Approval | NotApproved:
    if decision.ruling is Ruling.REJECT:
        return NotApproved.REJECTED
    if decision.correction is None:
        return Approval(answer, False, decision.reviewer, reviewed=True)
    text = decision.correction.strip()
    authors = [rating for rating in ratings if (rating.correction or "").strip() == text]
    author = max(authors, key=_when).rater if authors and text else decision.reviewer
    return Approval(decision.correction, True, author, reviewed=True)


def _when(rating: Rating) -> tuple[float, str]:
    return rating.created_at, rating.id
