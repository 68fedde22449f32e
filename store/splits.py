"""Splits: where each conversation was put, once and for ever.

In: conversation ids with a split. Out: the splits that hold; the first one wins, so gate stays gate.
Does not know how a split is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping

from store.columns import ids_json
from store.records import Split
from store.repository import Repository


class Splits(Repository):
    def record(self, mapping: Mapping[str, Split]) -> dict[str, Split]:
        """Save splits of conversations that have none yet; returns the one that holds for each given id."""
        now = self._clock()
        query = "SELECT * FROM splits WHERE conversation_id IN (SELECT value FROM json_each(?))"
        with self._file.writing() as transaction:
            transaction.executemany(
                "INSERT INTO splits VALUES (?, ?, ?) ON CONFLICT (conversation_id) DO NOTHING",
                ((conversation_id, split, now) for conversation_id, split in mapping.items()),
            )
            rows = transaction.rows(query, [ids_json(mapping)])
        held = {row["conversation_id"]: Split(row["split"]) for row in rows}
        return {conversation_id: held[conversation_id] for conversation_id in mapping}

    def all(self, assistant_id: str) -> dict[str, Split]:
        """The splits of the assistant's conversations, as far as they have one."""
        query = """SELECT s.* FROM conversations c JOIN splits s ON s.conversation_id = c.id
                   WHERE c.assistant_id = ? ORDER BY c.id"""
        with self._file.reading() as transaction:
            rows = transaction.rows(query, [assistant_id])
        return {row["conversation_id"]: Split(row["split"]) for row in rows}
