"""Whole conversations out of the file and into it, thousands at a time.

In: an assistant. Out: its conversations with messages, ratings, decisions, decided proposals and splits; or how many of
those given were new. Place in the flow: below import and export. Does not know file formats.

Nobody waits long: what is read or written is one page or batch in a transaction of its own, so that people can chat and
rate meanwhile. A conversation comes out as it was at one moment; one that is begun while others are read comes last.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from store.assistants import need_assistant
from store.carried import WholeConversation
from store.columns import ids_json
from store.connection import Transaction
from store.conversations import conversation_of
from store.decisions import decision_of
from store.errors import Conflict, Unstorable
from store.messages import message_of, usage_columns
from store.part import Part
from store.proposals import proposal_of
from store.ratings import rating_of
from store.records import Decision, Message, Proposal, Rating, Split

PAGE = 500  # conversations that are read at once: tens of milliseconds
# Ids of what is taken in are hashes, so every batch touches the indexes everywhere: with SQLite's own 2 MiB of cache
# it would read most of them from disk again, batch after batch.
_CACHE_KIB = 128 * 1024

PAGE_OF_ASSISTANT = """
    SELECT rowid AS place, * FROM conversations NOT INDEXED
    WHERE rowid > ? AND assistant_id = ? ORDER BY rowid LIMIT ?"""
MESSAGES_OF = """
    SELECT m.* FROM json_each(?) wanted CROSS JOIN messages m ON m.conversation_id = wanted.value
    ORDER BY m.seq"""
RATINGS_OF = """
    SELECT r.*, m.conversation_id FROM json_each(?) wanted
    CROSS JOIN messages m ON m.conversation_id = wanted.value
    CROSS JOIN ratings r ON r.message_id = m.id
    ORDER BY r.seq"""
DECISIONS_OF = """
    SELECT d.*, m.conversation_id FROM json_each(?) wanted
    CROSS JOIN messages m ON m.conversation_id = wanted.value
    CROSS JOIN decisions d ON d.message_id = m.id
    ORDER BY d.seq"""
PROPOSALS_OF = """
    SELECT p.*, m.conversation_id FROM json_each(?) wanted
    CROSS JOIN messages m ON m.conversation_id = wanted.value
    CROSS JOIN proposals p ON p.message_id = m.id
    WHERE p.accepted IS NOT NULL ORDER BY p.id"""
_SPLITS_OF = "SELECT * FROM splits WHERE conversation_id IN (SELECT value FROM json_each(?))"
OWNERS_OF = "SELECT id, assistant_id FROM conversations WHERE id IN (SELECT value FROM json_each(?))"

_INSERT_CONVERSATION = """
    INSERT INTO conversations (id, assistant_id, title, owner, source, created_at, updated_at, head_id)"""
_INSERT_MESSAGE = """
    INSERT INTO messages (id, conversation_id, parent_id, role, text, created_at, status)"""
_ADD_USAGE = """
    UPDATE messages SET prompt_tokens = ?, prompt_part_tokens = ?, cached_tokens = ?, completion_tokens = ?,
        first_token_s = ?, total_s = ?, mean_ln_p = ? WHERE id = ?"""
_INSERT_RATING = """
    INSERT INTO ratings (id, message_id, rater, verdict, reason, comment, correction, created_at)"""
_INSERT_DECISION = """
    INSERT INTO decisions (id, message_id, reviewer, ruling, created_at, correction, restores)"""
# Of one answer the decision made last counts, here or there.
_DECIDE_PROPOSAL = """
    INSERT INTO proposals (assistant_id, message_id, text, created_at, accepted, decided_by, decided_at)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (message_id, text) DO UPDATE
    SET accepted = excluded.accepted, decided_by = excluded.decided_by, decided_at = excluded.decided_at
    WHERE proposals.accepted IS NULL OR proposals.decided_at < excluded.decided_at"""
_INSERT_SPLIT = "INSERT INTO splits VALUES (?, ?, ?) ON CONFLICT (conversation_id) DO NOTHING"
_SHOW_NEWER = "UPDATE conversations SET head_id = ?, updated_at = ? WHERE id = ? AND updated_at <= ?"
# The latest rating of a rater is the one written last: what was given after the one that came in stays the latest.
_KEEP_LATER = """
    UPDATE ratings SET seq = (SELECT max(seq) + 1 FROM ratings) WHERE seq = (
        SELECT max(seq) FROM ratings WHERE message_id = ? AND rater = ? AND id <> ? AND created_at > ?)"""
_KEEP_LATER_DECISION = """
    UPDATE decisions SET seq = (SELECT max(seq) + 1 FROM decisions) WHERE seq = (
        SELECT max(seq) FROM decisions WHERE message_id = ? AND reviewer = ? AND id <> ? AND created_at > ?)"""


@dataclass(frozen=True)
class Brought:
    """What a batch added. `refused` are places in the batch with the reason."""

    conversations: int = 0
    known: int = (
        0  # conversations that were there already; they may have gained messages, ratings or decisions
    )
    messages: int = 0
    ratings: int = 0
    decisions: int = 0
    proposals: int = 0  # decided here, or decided later than here
    refused: tuple[tuple[int, str], ...] = ()

    def followed_by(self, other: Brought, place: int) -> Brought:
        """Both together, where the other one's batch began at `place`."""
        moved = tuple((place + at, reason) for at, reason in other.refused)
        return Brought(
            self.conversations + other.conversations,
            self.known + other.known,
            self.messages + other.messages,
            self.ratings + other.ratings,
            self.decisions + other.decisions,
            self.proposals + other.proposals,
            self.refused + moved,
        )


@dataclass
class _Batch:
    """Sorted by what has to be done with each."""

    new: list[WholeConversation] = field(default_factory=list)
    known: list[WholeConversation] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)


class Transfer(Part):
    def whole_conversations(self, assistant_id: str, page: int = PAGE) -> Iterator[WholeConversation]:
        """All of the assistant's conversations in the order in which they were begun."""
        place = -1
        while True:
            with self._file.reading() as transaction:
                rows = transaction.rows(PAGE_OF_ASSISTANT, [place, assistant_id, page])
                wholes = _wholes(transaction, rows)
            if not rows:
                return
            yield from wholes
            place = rows[-1]["place"]

    def conversation_count(self, assistant_id: str) -> int:
        query = "SELECT count(*) AS n FROM conversations WHERE assistant_id = ?"
        with self._file.reading() as transaction:
            return int(transaction.rows(query, [assistant_id])[0]["n"])

    def bring_in(self, assistant_id: str, wholes: Sequence[WholeConversation]) -> Brought:
        """Save what is not there yet, in one transaction; raises NotFound for the assistant, and NotSaved.

        Where one breaks a rule of the store, the others are saved without it.
        """
        try:
            return self._bring_in(assistant_id, wholes)
        except (Conflict, Unstorable) as error:
            if len(wholes) == 1:
                return Brought(refused=((0, str(error)),))
            half = len(wholes) // 2
            before, after = (
                self.bring_in(assistant_id, wholes[:half]),
                self.bring_in(assistant_id, wholes[half:]),
            )
            return before.followed_by(after, half)

    def _bring_in(self, assistant_id: str, wholes: Sequence[WholeConversation]) -> Brought:
        now = self._clock()
        with self._file.writing() as transaction:
            transaction.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            need_assistant(transaction, assistant_id)
            batch = _sorted(transaction, assistant_id, wholes)
            messages = [message for whole in batch.new for message in whole.messages]
            ratings = [rating for whole in batch.new for rating in whole.ratings]
            decisions = [decision for whole in batch.new for decision in whole.decisions]
            _insert_conversations(transaction, assistant_id, batch.new)
            _insert_messages(transaction, messages)
            _insert_ratings(transaction, ratings)
            _insert_decisions(transaction, decisions)
            added, rated, decided = _merge(transaction, batch.known)
            judged = _decide_proposals(transaction, assistant_id, [*batch.new, *batch.known])
            splits = [(whole.conversation.id, whole.split, now) for whole in wholes if whole.split]
            transaction.executemany(_INSERT_SPLIT, splits)
        return Brought(
            len(batch.new),
            len(batch.known),
            len(messages) + added,
            len(ratings) + rated,
            len(decisions) + decided,
            judged,
            tuple(batch.refused),
        )


def _wholes(transaction: Transaction, rows: Sequence[sqlite3.Row]) -> list[WholeConversation]:
    ids = [ids_json(row["id"] for row in rows)]
    messages: dict[str, list[Message]] = defaultdict(list)
    ratings: dict[str, list[Rating]] = defaultdict(list)
    decisions: dict[str, list[Decision]] = defaultdict(list)
    for row in transaction.rows(MESSAGES_OF, ids):
        messages[row["conversation_id"]].append(message_of(row))
    for row in transaction.rows(RATINGS_OF, ids):
        ratings[row["conversation_id"]].append(rating_of(row))
    for row in transaction.rows(DECISIONS_OF, ids):
        decisions[row["conversation_id"]].append(decision_of(row))
    proposals: dict[str, list[Proposal]] = defaultdict(list)
    for row in transaction.rows(PROPOSALS_OF, ids):
        proposals[row["conversation_id"]].append(proposal_of(row))
    splits = {row["conversation_id"]: Split(row["split"]) for row in transaction.rows(_SPLITS_OF, ids)}
    return [
        WholeConversation(
            conversation_of(row),
            tuple(messages[row["id"]]),
            tuple(ratings[row["id"]]),
            splits.get(row["id"]),
            tuple(decisions[row["id"]]),
            tuple(proposals[row["id"]]),
        )
        for row in rows
    ]


def _sorted(transaction: Transaction, assistant_id: str, wholes: Sequence[WholeConversation]) -> _Batch:
    ids = [ids_json(whole.conversation.id for whole in wholes)]
    owners = {row["id"]: row["assistant_id"] for row in transaction.rows(OWNERS_OF, ids)}
    batch = _Batch()
    for place, whole in enumerate(wholes):
        id = whole.conversation.id
        if id not in owners:
            owners[id] = assistant_id
            batch.new.append(whole)
        elif owners[id] == assistant_id:
            batch.known.append(whole)
        else:
            batch.refused.append((place, f"conversation {id!r} belongs to assistant {owners[id]!r} already."))
    return batch


def _insert_conversations(
    transaction: Transaction, assistant_id: str, wholes: Sequence[WholeConversation]
) -> None:
    conversations = [whole.conversation for whole in wholes]
    transaction.insert_rows(
        _INSERT_CONVERSATION,
        [
            (c.id, assistant_id, c.title, c.owner, c.source, c.created_at, c.updated_at, c.head_id)
            for c in conversations
        ],
    )


def _insert_messages(transaction: Transaction, messages: Sequence[Message]) -> None:
    transaction.insert_rows(
        _INSERT_MESSAGE,
        [
            (m.id, m.conversation_id, m.parent_id, m.role.value, m.text, m.created_at, m.status.value)
            for m in messages
        ],
    )
    used = [(*usage_columns(m.usage).values(), m.id) for m in messages if m.usage]
    transaction.executemany(_ADD_USAGE, used)  # few that are taken in were measured here


def _insert_ratings(transaction: Transaction, ratings: Sequence[Rating]) -> None:
    transaction.insert_rows(
        _INSERT_RATING,
        [
            (
                r.id,
                r.message_id,
                r.rater,
                r.verdict and r.verdict.value,
                r.reason,
                r.comment,
                r.correction,
                r.created_at,
            )
            for r in ratings
        ],
    )


def _insert_decisions(transaction: Transaction, decisions: Sequence[Decision]) -> None:
    transaction.insert_rows(
        _INSERT_DECISION,
        [
            (d.id, d.message_id, d.reviewer, d.ruling.value, d.created_at, d.correction, d.restores)
            for d in decisions
        ],
    )


def _decide_proposals(
    transaction: Transaction, assistant_id: str, wholes: Sequence[WholeConversation]
) -> int:
    """How many were not decided here yet, or earlier."""
    return sum(
        transaction.execute(
            _DECIDE_PROPOSAL,
            [assistant_id, p.message_id, p.text, p.created_at, int(p.accepted), p.decided_by, p.decided_at],
        ).rowcount
        for whole in wholes
        for p in whole.proposals
        if p.accepted is not None
    )


def _merge(transaction: Transaction, wholes: Sequence[WholeConversation]) -> tuple[int, int, int]:
    """What conversations that are there already gain: messages, ratings and decisions."""
    ids = [ids_json({whole.conversation.id for whole in wholes})]
    there = {row["id"] for row in transaction.rows(MESSAGES_OF, ids)}
    rated = {row["id"] for row in transaction.rows(RATINGS_OF, ids)}
    decided = {row["id"] for row in transaction.rows(DECISIONS_OF, ids)}
    messages: list[Message] = []
    ratings: list[Rating] = []
    decisions: list[Decision] = []
    for whole in wholes:
        before = len(messages)
        for message in whole.messages:
            if message.id not in there:
                there.add(message.id)
                messages.append(message)
        for rating in whole.ratings:
            if rating.id not in rated:
                rated.add(rating.id)
                ratings.append(rating)
        for decision in whole.decisions:
            if decision.id not in decided:
                decided.add(decision.id)
                decisions.append(decision)
        if len(messages) > before:
            c = whole.conversation
            transaction.execute(_SHOW_NEWER, [c.head_id, c.updated_at, c.id, c.updated_at])
    _insert_messages(transaction, messages)
    _insert_ratings(transaction, ratings)
    for rating in ratings:
        transaction.execute(_KEEP_LATER, [rating.message_id, rating.rater, rating.id, rating.created_at])
    _insert_decisions(transaction, decisions)
    for d in decisions:
        transaction.execute(_KEEP_LATER_DECISION, [d.message_id, d.reviewer, d.id, d.created_at])
    return len(messages), len(ratings), len(decisions)
