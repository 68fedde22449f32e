"""Keeps the approved answers that may be put before a question, with the vectors by which they are found."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from store.columns import record_of
from store.connection import Repository

_OF_ASSISTANT = "SELECT * FROM demonstrations WHERE assistant_id = ?"
_REMOVE = """
    DELETE FROM demonstrations WHERE assistant_id = ? AND message_id IN (SELECT value FROM json_each(?))"""
# An answer that was deleted meanwhile is no demonstration.
_ADD = """
    INSERT INTO demonstrations (assistant_id, message_id, question, answer, added_at)
    SELECT ?, id, ?, ?, ? FROM messages WHERE id = ?"""
_STATE = """
    SELECT count(*) AS n, coalesce(max(seq), 0) AS newest, count(*) FILTER (WHERE vector_model = ?) AS ready
    FROM demonstrations WHERE assistant_id = ?"""

PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]{1,40}_[0-9]{1,9}>")  # in place of something personal


@dataclass(frozen=True)
class Demonstration:
    """An approved answer that may be put before a like question; `seq` grows with each one that is added."""

    message_id: str
    question: str
    answer: str
    seq: int = 0
    added_at: float = 0.0

    @property
    def has_placeholder(self) -> bool:
        return PLACEHOLDER.search(self.answer) is not None


class Demonstrations(Repository):
    def replace(self, assistant_id: str, wanted: Iterable[Demonstration]) -> None:
        """Keep these and no others; those that stay as they are keep their vectors."""
        by_message = {one.message_id: one for one in wanted}
        with self._file.writing() as transaction:
            now = self._clock()
            held = {one.message_id: one for one in self.all(assistant_id)}
            gone = [id for id, one in held.items() if _differs(one, by_message.get(id))]
            new = [one for id, one in by_message.items() if _differs(one, held.get(id))]
            transaction.execute(_REMOVE, [assistant_id, gone])
            rows = [(assistant_id, one.question, one.answer, now, one.message_id) for one in new]
            transaction.executemany(_ADD, rows)

    def all(self, assistant_id: str) -> list[Demonstration]:
        """Return them in the order in which they were added."""
        return self._all(Demonstration, f"{_OF_ASSISTANT} ORDER BY seq", [assistant_id])

    def of_messages(self, ids: Iterable[str]) -> dict[str, Demonstration]:
        """Return those of these messages that are still demonstrations, by message id."""
        query = "SELECT * FROM demonstrations WHERE message_id IN (SELECT value FROM json_each(?))"
        return {one.message_id: one for one in self._all(Demonstration, query, [[*ids]])}

    def state(self, assistant_id: str, model: str) -> tuple[int, int, int]:
        """Return what every change changes: the count, the newest number, and how many have a vector of `model`."""
        row = self._rows(_STATE, [model, assistant_id])[0]
        return row["n"], row["newest"], row["ready"]

    def with_vectors(self, assistant_id: str, model: str) -> list[tuple[Demonstration, bytes]]:
        """Return those whose questions `model` has made vectors of, in the order in which they were added."""
        query = f"{_OF_ASSISTANT} AND vector_model = ? ORDER BY seq"
        rows = self._rows(query, [assistant_id, model])
        return [(record_of(Demonstration, row), row["vector"]) for row in rows]

    def without_vector(self, assistant_id: str, model: str, most: int) -> list[Demonstration]:
        """Return the newest `most` of the others."""
        query = f"{_OF_ASSISTANT} AND vector_model IS NOT ? ORDER BY seq DESC LIMIT ?"
        return self._all(Demonstration, query, [assistant_id, model, most])

    def set_vectors(self, model: str, vectors: Mapping[str, bytes]) -> None:
        """Keep what `model` made of the questions of these messages."""
        change = "UPDATE demonstrations SET vector_model = ?, vector = ? WHERE message_id = ?"
        with self._file.writing() as transaction:
            transaction.executemany(change, ((model, vector, id) for id, vector in vectors.items()))


def _differs(one: Demonstration, other: Demonstration | None) -> bool:
    return other is None or (one.question, one.answer) != (other.question, other.answer)
