"""Full conversations out of the store's file and into it, thousands at a time.

Each page or batch is a transaction of its own, so that people can chat and rate meanwhile. A conversation comes out as
it was at one moment; one that is begun while others are read comes last.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

from store.assistants import Assistants
from store.columns import grouped, record_of
from store.connection import Repository, Transaction
from store.conversations import usage_columns
from store.datasets import Splits
from store.errors import Conflict, Unstorable
from store.io.records import FullConversation
from store.records import Conversation, Decision, Message, Rating, Usage
from store.sqlite import sqlite3

PAGE = 500  # conversations that are read at once: tens of milliseconds
# Ids of imported records are hashes, so every batch touches the indexes everywhere: with SQLite's own 2 MiB of cache it
# would read most of them from disk again, batch after batch.
_CACHE_KIB = 128 * 1024

PAGE_OF_ASSISTANT = """
    SELECT rowid AS place, * FROM conversations NOT INDEXED
    WHERE rowid > ? AND assistant_id = ? ORDER BY rowid LIMIT ?"""
MESSAGES_OF = """
    SELECT m.* FROM json_each(?) wanted CROSS JOIN messages m ON m.conversation_id = wanted.value
    ORDER BY m.seq"""
_ABOUT_MESSAGES = """
    SELECT a.*, m.conversation_id FROM json_each(?) wanted
    CROSS JOIN messages m ON m.conversation_id = wanted.value
    CROSS JOIN {} a ON a.message_id = m.id"""
RATINGS_OF = f"{_ABOUT_MESSAGES.format('ratings')} ORDER BY a.seq"
DECISIONS_OF = f"{_ABOUT_MESSAGES.format('decisions')} ORDER BY a.seq"
OWNERS_OF = "SELECT id, assistant_id FROM conversations WHERE id IN (SELECT value FROM json_each(?))"

_KINDS = {"conversations": Conversation, "messages": Message, "ratings": Rating, "decisions": Decision}
_COLUMNS = {  # which deployment gave an answer is not imported, and `usage` is several columns
    kind: [field.name for field in fields(record) if field.name not in ("deployment_id", "usage")]
    for kind, record in _KINDS.items()
}
_ADD_USAGE = f"UPDATE messages SET {', '.join(f'{f.name} = ?' for f in fields(Usage))} WHERE id = ?"
_SHOW_NEWER = "UPDATE conversations SET head_id = ?, updated_at = ? WHERE id = ? AND updated_at <= ?"
# The latest rating of a rater is the one written last: what was given after the imported one stays the latest.
_KEEP_LATER = """
    UPDATE {0} SET seq = (SELECT max(seq) + 1 FROM {0}) WHERE seq = (
        SELECT max(seq) FROM {0} WHERE message_id = ? AND {1} = ? AND id <> ? AND created_at > ?)"""
_GIVEN_BY = {"ratings": "rater", "decisions": "reviewer"}

Refused = list[tuple[int, str]]  # places in the batch, with the reason


class Transfer(Repository):
    def conversations(self, assistant_id: str, page: int = PAGE) -> Iterator[FullConversation]:
        """All of the assistant's conversations in the order in which they were begun."""
        place = -1
        while True:
            with self._file.reading() as transaction:
                rows = transaction.rows(PAGE_OF_ASSISTANT, [place, assistant_id, page])
                found = self._full(transaction, rows)
            if not rows:
                return
            yield from found
            place = rows[-1]["place"]

    def _full(self, transaction: Transaction, rows: Sequence[sqlite3.Row]) -> list[FullConversation]:
        ids = [row["id"] for row in rows]
        messages = grouped(Message, transaction.rows(MESSAGES_OF, [ids]), "conversation_id")
        ratings = grouped(Rating, transaction.rows(RATINGS_OF, [ids]), "conversation_id")
        decisions = grouped(Decision, transaction.rows(DECISIONS_OF, [ids]), "conversation_id")
        splits = self._other(Splits).of(ids)
        return [
            FullConversation(
                record_of(Conversation, row),
                tuple(messages.get(row["id"], ())),
                tuple(ratings.get(row["id"], ())),
                splits.get(row["id"]),
                tuple(decisions.get(row["id"], ())),
            )
            for row in rows
        ]

    def count(self, assistant_id: str) -> int:
        return self._number("SELECT count(*) FROM conversations WHERE assistant_id = ?", [assistant_id])

    def add(
        self, assistant_id: str, conversations: Sequence[FullConversation]
    ) -> tuple[Counter[str], Refused]:
        """Save what is not there yet, in one transaction; returns how many records of each kind were new, how many
        conversations were “known”, and which break a rule of the store: the others are saved without them.

        Raises NotFound for the assistant, and NotSaved.
        """
        try:
            return self._import(assistant_id, conversations)
        except (Conflict, Unstorable) as error:
            if len(conversations) == 1:
                return Counter(), [(0, str(error))]
            half = len(conversations) // 2
            counts, refused = self.add(assistant_id, conversations[:half])
            more_counts, more_refused = self.add(assistant_id, conversations[half:])
            return counts + more_counts, refused + [(half + at, reason) for at, reason in more_refused]

    def _import(
        self, assistant_id: str, conversations: Sequence[FullConversation]
    ) -> tuple[Counter[str], Refused]:
        with self._file.writing() as transaction:
            transaction.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self._other(Assistants).get(assistant_id)
            new, known, refused = _sort(transaction, assistant_id, conversations)
            counts = _add(transaction, new) + _merge(transaction, known)
            self._other(Splits).record({one.conversation.id: one.split for one in conversations if one.split})
        return counts, refused


def _sort(
    transaction: Transaction, assistant_id: str, conversations: Sequence[FullConversation]
) -> tuple[list[FullConversation], list[FullConversation], Refused]:
    """New ones, ones that are there already, and those that belong to another assistant."""
    ids = [[full.conversation.id for full in conversations]]
    owners = {row["id"]: row["assistant_id"] for row in transaction.rows(OWNERS_OF, ids)}
    new, known, refused = [], [], []
    for place, full in enumerate(conversations):
        id = full.conversation.id
        if id not in owners:
            owners[id] = assistant_id
            new.append(full)
        elif owners[id] == assistant_id:
            known.append(full)
        else:
            refused.append((place, f"conversation {id!r} belongs to assistant {owners[id]!r} already."))
    return new, known, refused


def _add(transaction: Transaction, new: Sequence[FullConversation]) -> Counter[str]:
    counts = Counter(conversations=len(new))
    _insert(transaction, "conversations", [full.conversation for full in new])
    for kind in ("messages", "ratings", "decisions"):
        records = [record for full in new for record in getattr(full, kind)]
        counts[kind] = len(records)
        _insert(transaction, kind, records)
    return counts


def _merge(transaction: Transaction, known: Sequence[FullConversation]) -> Counter[str]:
    """What conversations that are there already gain: messages, ratings and decisions."""
    counts = Counter(known=len(known))
    ids = [list({full.conversation.id for full in known})]
    for kind, query in (("messages", MESSAGES_OF), ("ratings", RATINGS_OF), ("decisions", DECISIONS_OF)):
        there = {row["id"] for row in transaction.rows(query, ids)}
        records = {r.id: r for full in known for r in getattr(full, kind) if r.id not in there}
        counts[kind] = len(records)
        _insert(transaction, kind, list(records.values()))
        if kind == "messages":
            for c in (full.conversation for full in known if any(m.id in records for m in full.messages)):
                transaction.execute(_SHOW_NEWER, [c.head_id, c.updated_at, c.id, c.updated_at])
        else:
            keep_later = _KEEP_LATER.format(kind, _GIVEN_BY[kind])
            for r in records.values():
                by = getattr(r, _GIVEN_BY[kind])
                transaction.execute(keep_later, [r.message_id, by, r.id, r.created_at])
    return counts


def _insert(transaction: Transaction, table: str, records: Sequence[Any]) -> None:
    columns = _COLUMNS[table]
    rows = list(map(attrgetter(*columns), records))
    transaction.insert_rows(f"INSERT INTO {table} ({', '.join(columns)})", rows)
    if table == "messages":  # few that are imported were measured here
        used = [(*usage_columns(message.usage).values(), message.id) for message in records if message.usage]
        transaction.executemany(_ADD_USAGE, used)
