"""Conversations: whose they are, what they are called, and finding them again.

In: titles and searches from the chat page. Out: `Conversation`. The turns are in `messages`.
Does not know who may see which conversation; it filters by the owner that it is given.
"""

from __future__ import annotations

import sqlite3

from store.assistants import need_assistant
from store.errors import Conflict
from store.part import Part
from store.records import Conversation


class Conversations(Part):
    def create_conversation(
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
            return self.conversation(id)

    def conversation(self, id: str) -> Conversation:
        """Raises NotFound."""
        with self._file.reading() as transaction:
            row = transaction.one("SELECT * FROM conversations WHERE id = ?", [id], f"conversation {id!r}")
        return conversation_of(row)

    def conversations(
        self,
        assistant_id: str,
        owner: str | None = None,
        source: str | None = None,
        search: str | None = None,
        limit: int = 100,
    ) -> list[Conversation]:
        """The newest `limit` conversations, last changed first.

        `search` is looked for, in upper or lower case, in the title and in every message, also of hidden
        branches.
        """
        conditions, values = ["assistant_id = ?"], [assistant_id]
        if owner is not None:
            conditions.append("owner = ?")
            values.append(owner)
        if source is not None:
            conditions.append("source = ?")
            values.append(source)
        if search:
            # instr, not LIKE: no wildcards to escape, no limit on the length of what is searched.
            conditions.append("""(instr(folded(title), ?) OR EXISTS (
                SELECT 1 FROM messages m
                WHERE m.conversation_id = conversations.id AND instr(folded(m.text), ?)))""")
            values += [search.casefold()] * 2
        query = f"""SELECT * FROM conversations WHERE {" AND ".join(conditions)}
                    ORDER BY updated_at DESC, created_at DESC, id DESC LIMIT ?"""
        with self._file.reading() as transaction:
            rows = transaction.rows(query, [*values, limit])
        return [conversation_of(row) for row in rows]

    def rename_conversation(self, id: str, title: str) -> Conversation:
        """Raises NotFound. The place in the list stays: nothing was said."""
        with self._file.writing() as transaction:
            transaction.execute("UPDATE conversations SET title = ? WHERE id = ?", [title, id])
            return self.conversation(id)

    def delete_conversation(self, id: str) -> None:
        """Remove it with its messages and ratings. Raises NotFound.

        Frozen datasets keep their copies of its examples, and its split stays known in case it is imported
        again.
        """
        with self._file.writing() as transaction:
            self.conversation(id)
            transaction.execute("DELETE FROM conversations WHERE id = ?", [id])


def conversation_of(row: sqlite3.Row) -> Conversation:
    return Conversation(
        id=row["id"],
        assistant_id=row["assistant_id"],
        title=row["title"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        owner=row["owner"],
        source=row["source"],
        head_id=row["head_id"],
    )
