"""Keeps ratings of answers. The latest of each rater counts, and the history stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from store.columns import mapper
from store.errors import Conflict
from store.records import Rating, Role, Verdict
from store.repository import Repository

# "Latest" is by the order of writing, not by the clock, which can step back.
IS_LATEST = (
    "r.seq = (SELECT max(l.seq) FROM ratings l WHERE l.message_id = r.message_id AND l.rater = r.rater)"
)

LATEST_OF_MESSAGES = f"""
    SELECT r.* FROM json_each(?) wanted CROSS JOIN ratings r ON r.message_id = wanted.value
    WHERE {IS_LATEST} ORDER BY r.seq"""


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
            verdict = None if verdict is None else Verdict(verdict)
            rating = Rating(id, message_id, rater, verdict, at, reason, comment, correction)
            transaction.insert("ratings", **vars(rating))
            return rating

    def all(self, message_id: str) -> list[Rating]:
        """Return every rating that was ever given to the message, oldest first."""
        return self._all(rating_of, "SELECT * FROM ratings WHERE message_id = ? ORDER BY seq", [message_id])

    def latest(self, message_ids: Iterable[str]) -> dict[str, tuple[Rating, ...]]:
        """Return the latest rating of each rater, by message, oldest first; unrated messages are left out."""
        # A set: a repeated id must not repeat its ratings.
        return ratings_by_message(self._rows(LATEST_OF_MESSAGES, [list(set(message_ids))]))

    def counts(self, message_ids: Iterable[str]) -> dict[str, int]:
        """Return how many ratings each message has, taken back ones too; unrated messages are left out."""
        query = """SELECT message_id, count(*) AS n FROM json_each(?) wanted
                   JOIN ratings ON message_id = wanted.value GROUP BY message_id"""
        rows = self._rows(query, [list(set(message_ids))])
        return {row["message_id"]: row["n"] for row in rows}


def ratings_by_message(rows: Iterable[sqlite3.Row]) -> dict[str, tuple[Rating, ...]]:
    found: dict[str, list[Rating]] = {}
    for row in rows:
        found.setdefault(row["message_id"], []).append(rating_of(row))
    return {message_id: tuple(ratings) for message_id, ratings in found.items()}


rating_of = mapper(Rating)
