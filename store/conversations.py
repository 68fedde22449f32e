"""Conversations: who owns them, what they are called, and how they are found."""

from __future__ import annotations

from store.assistants import need_assistant
from store.connection import DataFile, Transaction
from store.errors import Conflict
from store.messages import Messages, conversation_of
from store.records import Conversation, Message, Role
from store.repository import Clock, NewId, Repository
from store.search import purge_deleted_words, query_of

_NEWEST = "ORDER BY c.updated_at DESC, c.created_at DESC, c.id DESC LIMIT ?"
# The index gives numbers in the order of writing, newest first, and DISTINCT keeps it: it stops at the limit.
_WITH_MESSAGES = """
    SELECT DISTINCT c.* FROM message_words
    CROSS JOIN messages m ON m.seq = message_words.rowid
    CROSS JOIN conversations c ON c.id = m.conversation_id
    WHERE message_words MATCH ? AND {} ORDER BY message_words.rowid DESC LIMIT ?"""
_WITH_TITLES = """
    SELECT c.* FROM title_words CROSS JOIN conversations c ON c.rowid = title_words.rowid
    WHERE title_words MATCH ? AND {} ORDER BY title_words.rowid DESC LIMIT ?"""


class Conversations(Repository):
    def __init__(self, file: DataFile, clock: Clock, new_id: NewId) -> None:
        super().__init__(file, clock, new_id)
        self._messages = Messages(file, clock, new_id)

    def create(
        self,
        assistant_id: str,
        title: str = "",
        owner: str = "local",
        source: str = "chat",
        id: str | None = None,
    ) -> Conversation:
        """Start one; `source` is chat, sample or import. Raises NotFound, Conflict for a taken id."""
        id = self._new_id() if id is None else id
        with self._file.writing() as transaction:
            need_assistant(transaction, assistant_id)
            if transaction.row("SELECT 1 FROM conversations WHERE id = ?", [id]):
                raise Conflict(f"A conversation {id!r} exists already. Choose another id.")
            now = self._clock()
            columns = {
                "id": id,
                "assistant_id": assistant_id,
                "title": title,
                "owner": owner,
                "source": source,
            }
            transaction.insert("conversations", **columns, created_at=now, updated_at=now)
            return self.get(id)

    def start(self, assistant_id: str, text: str, title: str = "", owner: str = "local") -> Message:
        """Start one with a first message of a person; neither is there without the other. Raises NotFound."""
        with self._file.writing():
            conversation = self.create(assistant_id, title, owner)
            return self._messages.add(conversation.id, None, Role.USER, text)

    def get(self, id: str) -> Conversation:
        """Raises NotFound."""
        return self._one(
            conversation_of, "SELECT * FROM conversations WHERE id = ?", [id], f"conversation {id!r}"
        )

    def all(
        self,
        assistant_id: str,
        owner: str | None = None,
        source: str | None = None,
        search: str | None = None,
        limit: int = 100,
    ) -> list[Conversation]:
        """The newest `limit` conversations, last changed first.

        `search` is words (see `Search.search`): all of them in the title, or all in one message, also of hidden
        branches. Where more than `limit` conversations have them, those with the last such messages are given.
        """
        conditions, values = ["c.assistant_id = ?"], [assistant_id]
        if owner is not None:
            conditions.append("c.owner = ?")
            values.append(owner)
        if source is not None:
            conditions.append("c.source = ?")
            values.append(source)
        where = " AND ".join(conditions)
        with self._file.reading() as transaction:
            if search:
                return _searched(transaction, search, where, values, limit)
            rows = transaction.rows(
                f"SELECT * FROM conversations c WHERE {where} {_NEWEST}", [*values, limit]
            )
        return [conversation_of(row) for row in rows]

    def rename(self, id: str, title: str) -> Conversation:
        """Raises NotFound. The place in the list stays: nothing was said."""
        with self._file.writing() as transaction:
            transaction.execute("UPDATE conversations SET title = ? WHERE id = ?", [title, id])
            return self.get(id)

    def delete(self, id: str) -> None:
        """Remove it with its messages and ratings, also from the search index. Raises NotFound.

        That index is written anew for it: about a second, in which nothing else is written, for a million messages.
        Frozen datasets keep their copies of its examples, and its split stays known in case it is imported
        again.
        """
        with self._file.writing() as transaction:
            self.get(id)
            transaction.execute("DELETE FROM conversations WHERE id = ?", [id])
            purge_deleted_words(transaction)


def _searched(
    transaction: Transaction, search: str, where: str, values: list[str], limit: int
) -> list[Conversation]:
    query = query_of(search)
    if query is None:
        return []
    found = {}
    for sql in (_WITH_TITLES, _WITH_MESSAGES):
        for row in transaction.rows(sql.format(where), [query, *values, limit]):
            found[row["id"]] = conversation_of(row)
    newest = sorted(found.values(), key=lambda c: (c.updated_at, c.created_at, c.id), reverse=True)
    return newest[:limit]
