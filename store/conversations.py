"""Keeps conversations, the tree of messages in each, and the branch of it that is shown.

Recursive queries also demand that a child was written after its parent (`seq`): a damaged file cannot loop them.
"""

from dataclasses import fields, replace
from typing import Any

from store.assistants import Assistants
from store.connection import Repository
from store.errors import Conflict, NotFound
from store.records import Conversation, Message, MessageStatus, Role, Usage
from store.search import purge_deleted_words, query_of

_UPWARDS = """
    WITH RECURSIVE path (id, parent_id, seq, depth) AS (
        SELECT id, parent_id, seq, 0 FROM messages WHERE id = {}
        UNION ALL
        SELECT m.id, m.parent_id, m.seq, depth + 1
        FROM path JOIN messages m ON m.id = path.parent_id AND m.seq < path.seq
    )
    SELECT m.* FROM path JOIN messages m ON m.id = path.id ORDER BY depth DESC"""
_CONVERSATION = "SELECT * FROM conversations WHERE id = ?"
_BRANCH = _UPWARDS.format("?")
_THREAD = _UPWARDS.format("(SELECT head_id FROM conversations WHERE id = ?)")
_NEWEST_LEAF = """
    WITH RECURSIVE below (id, conversation_id, seq) AS (
        SELECT id, conversation_id, seq FROM messages WHERE id = ?
        UNION ALL
        SELECT m.id, m.conversation_id, m.seq
        FROM below JOIN messages m ON m.conversation_id = below.conversation_id AND m.parent_id = below.id
            AND m.seq > below.seq
    )
    SELECT m.id FROM below JOIN messages m ON m.id = below.id
    WHERE NOT EXISTS (SELECT 1 FROM messages c WHERE c.conversation_id = m.conversation_id AND c.parent_id = m.id)
    ORDER BY m.created_at DESC, m.seq DESC LIMIT 1"""


class Messages(Repository):
    def add(
        self,
        conversation_id: str,
        parent_id: str | None,
        role: Role,
        text: str,
        status: MessageStatus = MessageStatus.COMPLETE,
        deployment_id: int | None = None,
        usage: Usage | None = None,
        id: str | None = None,
        created_at: float | None = None,
        finish_reason: str | None = None,
    ) -> Message:
        """Add a turn below `parent_id` (None: a first turn) and show it.

        Raises NotFound for the conversation or the parent; Conflict for a taken id, an unknown deployment, or an answer
        that follows no user message.
        """
        id = self._new_id() if id is None else id
        at = self._clock() if created_at is None else created_at
        with self._file.writing() as transaction:
            self._check_place(conversation_id, parent_id, role)
            given = (role, text, at, status, deployment_id, usage, finish_reason)
            made = Message(id, conversation_id, parent_id, *given)
            columns = vars(made) | usage_columns(usage)
            del columns["usage"]
            transaction.insert("messages", **columns)
            head = "UPDATE conversations SET head_id = ?, updated_at = max(updated_at, ?) WHERE id = ?"
            transaction.execute(head, [id, at, conversation_id])
            return made

    def finish(
        self,
        id: str,
        text: str,
        status: MessageStatus,
        usage: Usage | None = None,
        finish_reason: str | None = None,
    ) -> Message:
        """Save the text of an answer that was streaming, or so far; also of one that was swept as failed.

        Raises NotFound (deleted meanwhile), and Conflict when it is complete or stopped: people may have rated it.
        """
        with self._file.writing() as transaction:
            message = self.get(id)
            if message.status not in (MessageStatus.STREAMING, MessageStatus.FAILED):
                raise Conflict(f"Message {id!r} is {message.status}; its text is final. Add a sibling.")
            usage = usage or message.usage
            columns = {"text": text, "status": status, "finish_reason": finish_reason, **usage_columns(usage)}
            changes = ", ".join(f"{column} = ?" for column in columns)
            transaction.execute(f"UPDATE messages SET {changes} WHERE id = ?", [*columns.values(), id])
            touch = "UPDATE conversations SET updated_at = max(updated_at, ?) WHERE id = ?"
            transaction.execute(touch, [self._clock(), message.conversation_id])
            return replace(message, text=text, status=status, usage=usage, finish_reason=finish_reason)

    def get(self, id: str) -> Message:
        """Raises NotFound."""
        return self._one(Message, "SELECT * FROM messages WHERE id = ?", [id], f"message {id!r}")

    def thread(self, conversation_id: str) -> list[Message]:
        """Return the shown branch from the first turn to the head. Raises NotFound."""
        with self._file.reading():
            self._other(Conversations).get(conversation_id)
            return self._all(Message, _THREAD, [conversation_id])

    def branch(self, message_id: str) -> list[Message]:
        """Return the turns from the first one down to this message, shown or not. Raises NotFound."""
        with self._file.reading():
            self.get(message_id)
            return self._all(Message, _BRANCH, [message_id])

    def versions(self, conversation_id: str) -> dict[str, tuple[str, ...]]:
        """Return for each message of a conversation the ids of itself and its alternatives, oldest first."""
        query = "SELECT id, parent_id, role FROM messages WHERE conversation_id = ? ORDER BY created_at, seq"
        groups: dict[tuple[str | None, str], list[str]] = {}
        for row in self._rows(query, [conversation_id]):
            groups.setdefault((row["parent_id"], row["role"]), []).append(row["id"])
        return {id: tuple(ids) for ids in groups.values() for id in ids}

    def show(self, message_id: str) -> Conversation:
        """Show the branch that contains the message, down to the newest leaf below it. Raises NotFound."""
        with self._file.writing() as transaction:
            message = self.get(message_id)
            leaf = transaction.one(_NEWEST_LEAF, [message_id], f"leaf below message {message_id!r}")["id"]
            head = "UPDATE conversations SET head_id = ? WHERE id = ?"
            transaction.execute(head, [leaf, message.conversation_id])
            return self._other(Conversations).get(message.conversation_id)

    def streaming_count(self, adapter: str | None = None) -> int:
        """Return how many answers are being generated, with that adapter: unload it only at 0."""
        query = """SELECT count(*) FROM messages m LEFT JOIN deployments d ON d.id = m.deployment_id
                   WHERE m.status = 'streaming' AND (?1 IS NULL OR d.adapter = ?1)"""
        return self._number(query, [adapter])

    def answered(self, deployment_id: int) -> int:
        """Return how many answers of this deployment were measured, from an index alone."""
        query = "SELECT count(*) FROM messages WHERE deployment_id = ? AND prompt_tokens IS NOT NULL"
        return self._number(query, [deployment_id])

    def end_streaming(self) -> int:
        """Mark every streaming message as failed and return how many: for a start, after a crash."""
        return self._execute("UPDATE messages SET status = 'failed' WHERE status = 'streaming'")

    def _check_place(self, conversation_id: str, parent_id: str | None, role: Role) -> None:
        self._other(Conversations).get(conversation_id)
        query = "SELECT * FROM messages WHERE id = ? AND conversation_id = ?"
        parent = self._first(Message, query, [parent_id, conversation_id])
        if parent is None and parent_id is not None:
            raise NotFound(f"There is no message {parent_id!r} in conversation {conversation_id!r}.")
        if role == Role.ASSISTANT and (parent is None or parent.role is not Role.USER):
            raise Conflict("An answer has to follow a user message. Give that message as parent_id.")


def usage_columns(usage: Usage | None) -> dict[str, Any]:
    return {field.name: getattr(usage, field.name, None) for field in fields(Usage)}


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
        """Add a conversation; `source` is chat, tools or import. Raises NotFound, Conflict for a taken id."""
        id = self._new_id() if id is None else id
        with self._file.writing() as transaction:
            self._other(Assistants).get(assistant_id)
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
        return self._one(Conversation, _CONVERSATION, [id], f"conversation {id!r}")

    def all(
        self,
        assistant_id: str,
        owner: str | None = None,
        source: str | None = None,
        search: str | None = None,
        limit: int = 100,
    ) -> list[Conversation]:
        """Return the newest `limit` conversations, last changed first.

        `search` is words (see `Search.find`), all in the title or all in one message, also of hidden branches. Where
        more than `limit` conversations have them, those with the last such messages are given.
        """
        wanted = {"assistant_id": assistant_id, "owner": owner, "source": source}
        values = {column: value for column, value in wanted.items() if value is not None}
        where = " AND ".join(f"c.{column} = ?" for column in values)
        if search:
            return self._searched(search, where, [*values.values(), limit])
        query = f"SELECT * FROM conversations c WHERE {where} {_NEWEST}"
        return self._all(Conversation, query, [*values.values(), limit])

    def _searched(self, search: str, where: str, values: list[str | int]) -> list[Conversation]:
        if (query := query_of(search)) is None:
            return []
        with self._file.reading():  # both queries see one state
            walks = [sql.format(where) for sql in (_WITH_TITLES, _WITH_MESSAGES)]
            found = {one.id: one for sql in walks for one in self._all(Conversation, sql, [query, *values])}
        newest = sorted(found.values(), key=lambda c: (c.updated_at, c.created_at, c.id), reverse=True)
        return newest[: int(values[-1])]

    def rename(self, id: str, title: str) -> Conversation:
        """Change the title, not the place in the list. Raises NotFound."""
        with self._file.writing() as transaction:
            transaction.execute("UPDATE conversations SET title = ? WHERE id = ?", [title, id])
            return self.get(id)

    def delete(self, id: str) -> None:
        """Remove it with its messages and ratings, also from the search index. Raises NotFound.

        The index is rewritten for it, about a second for a million messages. Frozen datasets keep their copies of its
        examples, and its split stays known in case it is imported again.
        """
        if not self._execute("DELETE FROM conversations WHERE id = ?", [id]):
            raise NotFound(f"There is no conversation {id!r}.")
        purge_deleted_words(self._file)
