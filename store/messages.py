"""Keeps messages: the tree of turns in a conversation and the branch of it that is shown.

Recursive queries also demand that a child was written after its parent (`seq`): a damaged file cannot loop them.
"""

from __future__ import annotations

import sqlite3
from dataclasses import astuple, fields, replace

from store.columns import mapper
from store.connection import Transaction
from store.errors import Conflict, NotFound
from store.records import Conversation, Message, MessageStatus, Role, Usage
from store.repository import Repository

_USAGE = tuple(field.name for field in fields(Usage))
_UPWARDS = """
    WITH RECURSIVE path (id, parent_id, seq, depth) AS (
        SELECT id, parent_id, seq, 0 FROM messages WHERE id = {}
        UNION ALL
        SELECT m.id, m.parent_id, m.seq, depth + 1
        FROM path JOIN messages m ON m.id = path.parent_id AND m.seq < path.seq
    )
    SELECT m.* FROM path JOIN messages m ON m.id = path.id ORDER BY depth DESC"""
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
    ) -> Message:
        """Add a turn below `parent_id` (None: a first turn) and show it.

        Raises NotFound for the conversation, its parent or the deployment; Conflict for a taken id, an answer
        that follows no user message, or another assistant's deployment.
        """
        id = self._new_id() if id is None else id
        at = self._clock() if created_at is None else created_at
        with self._file.writing() as transaction:
            _check_place(transaction, conversation_id, parent_id, role, deployment_id)
            if transaction.row("SELECT 1 FROM messages WHERE id = ?", [id]):
                raise Conflict(f"A message {id!r} exists already. Choose another id.")
            made = Message(id, conversation_id, parent_id, role, text, at, status, deployment_id, usage)
            columns = {name: value for name, value in vars(made).items() if name != "usage"}
            transaction.insert("messages", **columns, **usage_columns(usage))
            head = "UPDATE conversations SET head_id = ?, updated_at = max(updated_at, ?) WHERE id = ?"
            transaction.execute(head, [id, at, conversation_id])
            return made

    def finish(self, id: str, text: str, status: MessageStatus, usage: Usage | None = None) -> Message:
        """Save the text of an answer that was streaming; status STREAMING saves the text so far.

        Also takes one that was swept as failed: the answer did arrive. Raises NotFound (deleted meanwhile),
        and Conflict when the message is complete or stopped, since people may have rated that text.
        """
        with self._file.writing() as transaction:
            message = self.get(id)
            if message.status not in (MessageStatus.STREAMING, MessageStatus.FAILED):
                raise Conflict(
                    f"Message {id!r} is {message.status}; its text is final. Add a sibling instead."
                )
            usage = usage or message.usage
            columns = {"text": text, "status": status, **usage_columns(usage)}
            changes = ", ".join(f"{column} = ?" for column in columns)
            transaction.execute(f"UPDATE messages SET {changes} WHERE id = ?", [*columns.values(), id])
            touch = "UPDATE conversations SET updated_at = max(updated_at, ?) WHERE id = ?"
            transaction.execute(touch, [self._clock(), message.conversation_id])
            return replace(message, text=text, status=status, usage=usage)

    def get(self, id: str) -> Message:
        """Raises NotFound."""
        return self._one(message_of, "SELECT * FROM messages WHERE id = ?", [id], f"message {id!r}")

    def thread(self, conversation_id: str) -> list[Message]:
        """Return the shown branch from the first turn to the head. Raises NotFound."""
        with self._file.reading() as transaction:
            _conversation(transaction, conversation_id)
            return self._all(message_of, _THREAD, [conversation_id])

    def branch(self, message_id: str) -> list[Message]:
        """Return the turns from the first one down to this message, shown or not. Raises NotFound."""
        with self._file.reading():
            self.get(message_id)
            return self._all(message_of, _BRANCH, [message_id])

    def versions(self, conversation_id: str) -> dict[str, tuple[str, ...]]:
        """Return for each message of a conversation the ids of itself and its alternatives, oldest first."""
        query = "SELECT id, parent_id, role FROM messages WHERE conversation_id = ? ORDER BY created_at, seq"
        rows = self._rows(query, [conversation_id])
        groups: dict[tuple[str | None, str], list[str]] = {}
        for row in rows:
            groups.setdefault((row["parent_id"], row["role"]), []).append(row["id"])
        return {id: tuple(ids) for ids in groups.values() for id in ids}

    def show(self, message_id: str) -> Conversation:
        """Show the branch that contains the message, down to the newest leaf below it. Raises NotFound."""
        with self._file.writing() as transaction:
            message = self.get(message_id)
            leaf = transaction.one(_NEWEST_LEAF, [message_id], f"leaf below message {message_id!r}")["id"]
            head = "UPDATE conversations SET head_id = ? WHERE id = ?"
            transaction.execute(head, [leaf, message.conversation_id])
            return conversation_of(_conversation(transaction, message.conversation_id))

    def streaming_count(self, adapter: str | None = None) -> int:
        """Return how many answers are being generated, with that adapter: unload it only at 0."""
        query = """SELECT count(*) AS n FROM messages m LEFT JOIN deployments d ON d.id = m.deployment_id
                   WHERE m.status = 'streaming' AND (?1 IS NULL OR d.adapter = ?1)"""
        return self._number(query, [adapter])

    def end_streaming(self) -> int:
        """Mark every streaming message as failed and return how many: for a start, after a crash."""
        return self._execute("UPDATE messages SET status = 'failed' WHERE status = 'streaming'")


def _conversation(transaction: Transaction, id: str) -> sqlite3.Row:
    return transaction.one("SELECT * FROM conversations WHERE id = ?", [id], f"conversation {id!r}")


def _check_place(
    transaction: Transaction,
    conversation_id: str,
    parent_id: str | None,
    role: Role,
    deployment_id: int | None,
) -> None:
    conversation = _conversation(transaction, conversation_id)
    parent = None
    if parent_id is not None:
        parent = transaction.row("SELECT * FROM messages WHERE id = ?", [parent_id])
        if parent is None or parent["conversation_id"] != conversation_id:
            raise NotFound(f"There is no message {parent_id!r} in conversation {conversation_id!r}.")
    if role == Role.ASSISTANT and (parent is None or parent["role"] != Role.USER):
        raise Conflict("An answer has to follow a user message. Give that message as parent_id.")
    if deployment_id is not None:
        query = "SELECT assistant_id FROM deployments WHERE id = ?"
        owner = transaction.one(query, [deployment_id], f"deployment {deployment_id}")["assistant_id"]
        if owner != conversation["assistant_id"]:
            raise Conflict(
                f"Deployment {deployment_id} serves {owner!r}, not {conversation['assistant_id']!r}."
            )


def usage_columns(usage: Usage | None) -> dict[str, int | float | None]:
    return dict(zip(_USAGE, astuple(usage) if usage else (None,) * len(_USAGE), strict=True))


def message_of(row: sqlite3.Row) -> Message:
    return _message(row, usage=None if row["prompt_tokens"] is None else _usage(row))


_usage = mapper(Usage)
_message = mapper(Message, given=["usage"])
conversation_of = mapper(Conversation)
