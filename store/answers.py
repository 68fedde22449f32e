"""Conversations and ratings → rated answers: what the trainer selects its examples from.

In: an assistant. Out: `RatedAnswer`s with the turns before each, in the same order every time.
Does not know which answers are good enough to learn from.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from store.part import Part
from store.ratings import IS_LATEST, ratings_by_message
from store.records import RatedAnswer, Rating, Role, Split

LATEST_OF_ASSISTANT = f"""
    SELECT r.* FROM conversations c
    CROSS JOIN messages m ON m.conversation_id = c.id
    CROSS JOIN ratings r ON r.message_id = m.id
    WHERE c.assistant_id = ? AND m.role = 'assistant' AND m.status IN ('complete', 'stopped') AND {IS_LATEST}
    ORDER BY r.seq"""

TURNS_OF_RATED = """
    SELECT m.id, m.conversation_id, m.parent_id, m.role, m.text, m.created_at, s.split
    FROM conversations c
    CROSS JOIN messages m ON m.conversation_id = c.id
    LEFT JOIN splits s ON s.conversation_id = c.id
    WHERE c.assistant_id = ? AND EXISTS (
        SELECT 1 FROM messages a CROSS JOIN ratings r ON r.message_id = a.id WHERE a.conversation_id = c.id)
    ORDER BY m.created_at, m.id"""


class Answers(Part):
    def rated_answers(self, assistant_id: str) -> list[RatedAnswer]:
        """Finished answers with a rating (also one that was taken back), oldest first, then by id."""
        with self._file.reading() as transaction:
            ratings = ratings_by_message(transaction.rows(LATEST_OF_ASSISTANT, [assistant_id]))
            turns = {row["id"]: row for row in transaction.rows(TURNS_OF_RATED, [assistant_id])}
        return [_rated_answer(row, turns, ratings[id]) for id, row in turns.items() if id in ratings]


def _rated_answer(
    row: sqlite3.Row, turns: Mapping[str, sqlite3.Row], ratings: tuple[Rating, ...]
) -> RatedAnswer:
    context: list[tuple[Role, str]] = []
    parent_id = row["parent_id"]
    while parent_id is not None:
        parent = turns[parent_id]
        if parent["role"] == Role.USER or parent["text"]:  # as chat sends it: without answers that failed
            context.append((Role(parent["role"]), parent["text"]))
        parent_id = parent["parent_id"]
    return RatedAnswer(
        message_id=row["id"],
        conversation_id=row["conversation_id"],
        context=tuple(reversed(context)),
        answer=row["text"],
        ratings=ratings,
        split=None if row["split"] is None else Split(row["split"]),
    )
