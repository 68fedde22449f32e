"""Keeps ratings of answers, of which the latest of each rater counts, and says which text people approve of.

A reviewer's decision outranks all ratings. Without one the latest correction counts; else the answer as given, where it
is rated up and nobody rated it down. An unrated answer is never approved.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from store.columns import grouped
from store.connection import Repository
from store.errors import Conflict
from store.records import Decision, Rating, Role, Ruling, Verdict

# "Latest" is by the order of writing, not by the clock, which can step back.
IS_LATEST = """r.seq = (
    SELECT max(l.seq) FROM ratings l WHERE l.message_id = r.message_id AND l.rater = r.rater)"""


class Ratings(Repository):
    def add(
        self,
        message_id: str,
        rater: str,
        verdict: Verdict | None,
        reason: str = "",
        comment: str = "",
        correction: str | None = None,
    ) -> Rating:
        """Add one; verdict None takes an earlier one back. Raises NotFound, Conflict for a question."""
        with self._file.writing() as transaction:
            query = "SELECT role FROM messages WHERE id = ?"
            role = transaction.one(query, [message_id], f"message {message_id!r}")["role"]
            if role != Role.ASSISTANT:
                raise Conflict(f"Message {message_id!r} is from the {role}; only answers can be rated.")
            id, at = self._new_id(), self._clock()
            rating = Rating(id, message_id, rater, verdict, at, reason, comment, correction)
            transaction.insert("ratings", **vars(rating))
            return rating

    def change(self, message_id: str, rater: str, changed: Callable[[Rating], Rating]) -> Rating:
        """Add what `changed` makes of the rater's latest rating, or of an empty one, unless it is the same."""
        with self._file.writing():
            latest = {one.rater: one for one in self.latest([message_id]).get(message_id, ())}
            before = latest.get(rater) or Rating("", message_id, rater, None, 0.0)
            new = changed(before)
            if new == before:
                return before
            return self.add(message_id, rater, new.verdict, new.reason, new.comment, new.correction)

    def all(self, message_id: str) -> list[Rating]:
        """Return every rating that was ever given to the message, oldest first."""
        return self._all(Rating, "SELECT * FROM ratings WHERE message_id = ? ORDER BY seq", [message_id])

    def latest(self, message_ids: Iterable[str]) -> dict[str, tuple[Rating, ...]]:
        """Return the latest rating of each rater, by message, oldest first; unrated messages are left out."""
        query = f"""SELECT r.* FROM json_each(?) wanted CROSS JOIN ratings r ON r.message_id = wanted.value
            WHERE {IS_LATEST} ORDER BY r.seq"""
        # A set: a repeated id must not repeat its ratings.
        found = grouped(Rating, self._rows(query, [list(set(message_ids))]), "message_id")
        return {message_id: tuple(ratings) for message_id, ratings in found.items()}

    def counts(self, message_ids: Iterable[str]) -> dict[str, int]:
        """Return how many ratings each message has, taken back ones too; unrated messages are left out."""
        query = """SELECT message_id, count(*) AS n FROM json_each(?) wanted
                   JOIN ratings ON message_id = wanted.value GROUP BY message_id"""
        return {row["message_id"]: row["n"] for row in self._rows(query, [list(set(message_ids))])}


def corrected(rating: Rating, text: str) -> Rating:
    """With a correction; an answer that had to be corrected counts as bad, unless this rater rated it up."""
    return replace(rating, verdict=rating.verdict or Verdict.DOWN, correction=text)


class NotApproved(StrEnum):
    """Why people approve of no text."""

    UNRATED = "no rating left: it was taken back"
    REJECTED = "rejected by a reviewer"
    RATED_DOWN = "rated down, and nobody wrote the right answer"
    CUT = "cut off before its end, and nobody wrote the whole answer"


@dataclass(frozen=True)
class Approval:
    """The text to learn. `rater` wrote it, or approved of the answer as given."""

    text: str
    corrected: bool
    rater: str
    reviewed: bool = False


def approval(
    answer: str, ratings: Sequence[Rating], decision: Decision | None = None, is_whole: bool = True
) -> Approval | NotApproved:
    """`ratings` are the latest of each rater. Of an answer that is not whole a correction alone is learned."""
    found = _approval(answer, ratings) if decision is None else _decided(answer, ratings, decision)
    if isinstance(found, Approval) and not (found.corrected or is_whole):
        return NotApproved.CUT
    return found


def _approval(answer: str, ratings: Sequence[Rating]) -> Approval | NotApproved:
    if corrections := [rating for rating in ratings if rating.correction is not None]:
        latest = max(corrections, key=_when)
        return Approval(latest.correction or "", True, latest.rater)
    if any(rating.verdict is Verdict.DOWN for rating in ratings):
        return NotApproved.RATED_DOWN
    ups = [rating for rating in ratings if rating.verdict is not None]
    return Approval(answer, False, max(ups, key=_when).rater) if ups else NotApproved.UNRATED


def approved_text(
    answer: str, ratings: Sequence[Rating], decision: Decision | None, is_whole: bool = True
) -> str | None:
    """The text to learn, None where people approve of none."""
    found = approval(answer, ratings, decision, is_whole)
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
