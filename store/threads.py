"""Keeps questions that programs ask by all turns before them, and finds their conversation and their answers again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from store.connection import Repository
from store.conversations import Conversations, Messages
from store.records import Message, Role

_LAST_ANSWER = """
    SELECT answer.id, answer.conversation_id FROM messages question
    JOIN messages answer ON answer.conversation_id = question.conversation_id AND answer.parent_id = question.id
    WHERE question.turns_hash = ? AND answer.text = ? AND answer.status <> 'streaming'
    ORDER BY answer.seq DESC LIMIT 1"""

# What one owner, ?1, and those below its name were answered.
_STORED = """
    SELECT coalesce(question.metadata, '{{}}') AS metadata, c.assistant_id, c.source = 'tools' AS with_tools, answer.*
    FROM messages question
    CROSS JOIN conversations c ON c.id = question.conversation_id
    CROSS JOIN messages answer ON answer.conversation_id = c.id AND answer.parent_id = question.id
    WHERE question.turns_hash IS NOT NULL AND (c.owner = ?1 OR substr(c.owner, 1, length(?1) + 1) = ?1 || '/')
        AND answer.role = 'assistant' AND answer.status <> 'streaming' AND {}"""
# In the order of asking, of several answers to one question in that of writing; from the answer ?2 on, of the assistant
# ?3, where these are named.
_PAGE = """(?3 IS NULL OR c.assistant_id = ?3) AND (?2 IS NULL OR (question.seq, answer.seq) {0} (
        SELECT asked.seq, given.seq FROM messages given JOIN messages asked ON asked.id = given.parent_id
        WHERE given.id = ?2))"""
_ORDER = " ORDER BY question.seq {0}, answer.seq {0} LIMIT {1}"

Turns = Sequence[tuple[Role, str]]


@dataclass(frozen=True)
class StoredAnswer:
    """An answer that a program was given, and what it keeps with the question."""

    message: Message
    assistant_id: str
    metadata: dict[str, str]
    with_tools: bool


class Threads(Repository):
    def ask(
        self,
        assistant_id: str,
        owner: str,
        turns: Turns,
        title: str = "",
        metadata: Mapping[str, str] | None = None,
        source: str = "chat",
    ) -> Message:
        """Keep the last turn, a question, below the turns before it, and return it.

        Turns that end with an answer that this owner was given go on in that conversation; others become a new one,
        whose earlier answers nobody here gave. Turns begin with a question and take turns. `source` is chat, or tools
        for what could call some. Raises NotFound.
        """
        messages = self._other(Messages)
        with self._file.writing() as transaction:
            *before, (_, question) = turns
            values = [_hash(assistant_id, owner, source, before[:-1]), before[-1][1] if before else None]
            if last := transaction.row(_LAST_ANSWER, values):
                here, parent = last["conversation_id"], last["id"]
            else:
                here, parent = self._other(Conversations).create(assistant_id, title, owner, source).id, None
                for role, text in before:
                    parent = messages.add(here, parent, role, text).id
            asked = messages.add(here, parent, Role.USER, question)
            change = "UPDATE messages SET turns_hash = ?, metadata = ? WHERE id = ?"
            kept = dict(metadata) if metadata else None
            transaction.execute(change, [_hash(assistant_id, owner, source, turns), kept, asked.id])
            return asked

    def answers(
        self,
        owner: str,
        assistant_id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        after: str | None = None,
        limit: int = 20,
        newest_first: bool = False,
    ) -> list[StoredAnswer]:
        """Return what this owner, and those below its name, were answered, in the order of writing.

        `metadata` are pairs that all have to be kept with the question; `after` is the answer before the first one.
        """
        wanted = dict(metadata or {})
        pairs = "EXISTS (SELECT 1 FROM json_each(question.metadata) WHERE key = ? AND atom = ?)"
        where = " AND ".join([_PAGE.format("<" if newest_first else ">"), *[pairs] * len(wanted)])
        query = _STORED.format(where) + _ORDER.format("DESC" if newest_first else "ASC", int(limit))
        values = [part for pair in wanted.items() for part in pair]
        return self._all(StoredAnswer, query, [owner, after, assistant_id, *values])

    def answer(self, owner: str, id: str) -> StoredAnswer:
        """Raises NotFound, also for an answer of somebody else."""
        this = "answer.id = ?2 AND question.id = (SELECT parent_id FROM messages WHERE id = ?2)"
        return self._one(StoredAnswer, _STORED.format(this), [owner, id], f"stored completion {id!r}")

    def set_metadata(self, owner: str, id: str, metadata: Mapping[str, str]) -> StoredAnswer:
        """Keep this with the question instead. Raises NotFound."""
        with self._file.writing() as transaction:
            parent = self.answer(owner, id).message.parent_id
            transaction.execute("UPDATE messages SET metadata = ? WHERE id = ?", [dict(metadata), parent])
            return self.answer(owner, id)


def _hash(assistant_id: str, owner: str, source: str, turns: Turns) -> str:
    text = json.dumps([assistant_id, owner, source, *([role.value, text] for role, text in turns)])
    return hashlib.sha256(text.encode()).hexdigest()
