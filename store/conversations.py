"""Keeps conversations: who owns them, what they are called, and how they are found."""

from __future__ import annotations

from store.assistants import need_assistant
from store.errors import Conflict
from store.messages import Messages, conversation_of
from store.records import Conversation, Message, Role
from store.repository import Repository
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
    def create(
        self,
        assistant_id: str,
        title: str = "",
        owner: str = "local",
        source: str = "chat",
        id: str | None = None,
    ) -> Conversation:
        """Add a conversation; `source` is chat, sample or import. Raises NotFound, Conflict for a taken id."""
        id = self._new_id() if id is None else id
        with self._file.writing() as transaction:
            need_assistant(transaction, assistant_id)
            if transaction.row("SELECT 1 FROM conversations WHERE id = ?", [id]):
                raise Conflict(f"A conversation {id!r} exists already. Choose another id.")
            now = self._clock()
            made = Conversation(id, assistant_id, title, now, now, owner, source)
            transaction.insert("conversations", **vars(made))
            return made

    def start(self, assistant_id: str, text: str, title: str = "", owner: str = "local") -> Message:
        """Add a conversation and a person's first message, both or none. Raises NotFound."""
        with self._file.writing():
            conversation = self.create(assistant_id, title, owner)
            return self._other(Messages).add(conversation.id, None, Role.USER, text)

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
        """Return the newest `limit` conversations, last changed first.

        `search` is words (see `Search.search`): all of them in the title, or all in one message, also of hidden
        branches. Where more than `limit` conversations have them, those with the last such messages are given.
        """
        wanted = {"assistant_id": assistant_id, "owner": owner, "source": source}
        values = {column: value for column, value in wanted.items() if value is not None}
        where = " AND ".join(f"c.{column} = ?" for column in values)
        if search:
            return self._searched(search, where, [*values.values(), limit])
        query = f"SELECT * FROM conversations c WHERE {where} {_NEWEST}"
        return self._all(conversation_of, query, [*values.values(), limit])

    def _searched(self, search: str, where: str, values: list[str | int]) -> list[Conversation]:
        query = query_of(search)
        if query is None:
            return []
        found = {}
        with self._file.reading():  # both queries see one state
            for sql in (_WITH_TITLES, _WITH_MESSAGES):
                for one in self._all(conversation_of, sql.format(where), [query, *values]):
                    found[one.id] = one
        newest = sorted(found.values(), key=lambda c: (c.updated_at, c.created_at, c.id), reverse=True)
        return newest[: int(values[-1])]

    def rename(self, id: str, title: str) -> Conversation:
        """Change the title, not the place in the list. Raises NotFound."""
        with self._file.writing() as transaction:
            transaction.execute("UPDATE conversations SET title = ? WHERE id = ?", [title, id])
            return self.get(id)

    def delete(self, id: str) -> None:
        """Remove it with its messages and ratings, also from the search index. Raises NotFound.

        The index is rewritten for it: about a second without other writes for a million messages. Frozen datasets keep
        their copies of its examples, and its split stays known in case it is imported again.
        """
        with self._file.writing() as transaction:
            self.get(id)
            transaction.execute("DELETE FROM conversations WHERE id = ?", [id])
            purge_deleted_words(transaction)
