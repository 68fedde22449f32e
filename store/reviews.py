"""Finds the answers that a reviewer asks for, newest first, with the ratings and the decision about each.

Every query walks one index from its newest end and stops at the limit: of a million messages the first hundred cost
what they cost of a thousand. A filter that few messages pass walks over a million in half a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from store.columns import mapper
from store.connection import Transaction
from store.decisions import EFFECTIVE_OF_MESSAGES, IS_EFFECTIVE, effective_by_message
from store.ratings import IS_LATEST, LATEST_OF_MESSAGES, ratings_by_message
from store.records import Decision, Rating
from store.repository import Repository
from store.search import Search

# Items of one filter: more than anybody reviews in a day, and they are read in a tenth of a second.
MOST = 2000


class Show(StrEnum):
    WORTH = "worth a look"  # whatever may be wrong, of all the kinds below
    UNDECIDED = "undecided"
    DOWN = "rated down"
    UP = "rated up"
    CORRECTED = "corrected"
    UNRATED = "not rated"
    DECIDED = "reviewed"
    PROPOSED = "proposed"  # judgement requests, see `store.judgement_requests`


@dataclass(frozen=True)
class ReviewFilter:
    """The answers that a reviewer asks for; an empty field filters nothing. Times are the answer's, in UTC seconds.

    Rater, reason and the kind of rating have to hold of one rating. Every kind but `DECIDED` leaves out answers that
    were decided already.
    """

    show: Show = Show.WORTH
    text: str = ""  # words in the question, the answer, a comment or a correction
    rater: str = ""
    reason: str = ""
    deployment_id: int | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True)
class ReviewItem:
    """An answer to review. `opens` says that its question is the first of the conversation.

    `mean_ln_p` is the mean log-probability of a token of the answer (nats, None where it is not known).
    """

    message_id: str
    conversation_id: str
    question: str
    answer: str
    opens: bool
    at: float
    ratings: tuple[Rating, ...]
    decision: Decision | None
    mean_ln_p: float | None = None


@dataclass(frozen=True)
class FoundItems:
    """`more` says that the limit was reached, so that there may be others."""

    items: list[ReviewItem]
    more: bool


_PLACE = "JOIN conversations c ON c.id = m.conversation_id"
_BY_RATING = f"ratings r CROSS JOIN messages m ON m.id = r.message_id CROSS {_PLACE}"
_BY_DECISION = f"decisions d CROSS JOIN messages m ON m.id = d.message_id CROSS {_PLACE}"
_BY_CONVERSATION = "conversations c CROSS JOIN messages m ON m.conversation_id = c.id"
_BY_DEPLOYMENT = f"messages m CROSS {_PLACE}"
_BY_ID = f"json_each(?) wanted CROSS JOIN messages m ON m.id = wanted.value CROSS {_PLACE}"
_UNDECIDED = f"NOT EXISTS (SELECT 1 FROM decisions d WHERE d.message_id = m.id AND {IS_EFFECTIVE})"
# Named, since SQLite would rather go through all ratings of one kind for every message that a search found.
_ITS_RATING = "SELECT 1 FROM ratings r INDEXED BY ratings_of_message WHERE r.message_id = m.id"

_ANSWERS_TO = """
    SELECT m.id FROM json_each(?) wanted
    CROSS JOIN messages q ON q.id = wanted.value
    CROSS JOIN messages m ON m.conversation_id = q.conversation_id AND m.parent_id = q.id
    WHERE q.role = 'user' AND m.role = 'assistant'
    ORDER BY wanted.key"""
ITEMS = """
    SELECT m.id AS message_id, m.conversation_id, coalesce(q.text, '') AS question, m.text AS answer,
        q.parent_id IS NULL AS opens, m.created_at AS at, m.mean_ln_p
    FROM json_each(?) wanted
    CROSS JOIN messages m ON m.id = wanted.value
    LEFT JOIN messages q ON q.id = m.parent_id
    ORDER BY wanted.key"""
NEWEST_QUESTIONS = """
    SELECT m.text FROM conversations c CROSS JOIN messages m ON m.conversation_id = c.id
    WHERE c.assistant_id = ? AND m.role = 'user' ORDER BY c.updated_at DESC LIMIT ?"""
# One step down an index for each different value, however often it occurs.
_DIFFERENT = """
    WITH RECURSIVE step (name) AS (
        SELECT min({0}) FROM ratings WHERE {0} <> ''
        UNION ALL SELECT (SELECT min({0}) FROM ratings WHERE {0} <> '' AND {0} > step.name) FROM step
        WHERE step.name IS NOT NULL)
    SELECT name FROM step WHERE name IS NOT NULL LIMIT ?"""
_CHOICES = 500


@dataclass
class Query:
    """One walk: where it starts, what has to hold, and the values in the order of the marks."""

    source: str
    order: str
    conditions: list[str] = field(default_factory=list)
    first: list[Any] = field(default_factory=list)  # of marks in `source`
    values: list[Any] = field(default_factory=list)

    def where(self, condition: str, *values: Any) -> None:
        self.conditions.append(condition)
        self.values += values

    def sql(self) -> str:
        return f"SELECT m.id FROM {self.source} WHERE {' AND '.join(self.conditions)} ORDER BY {self.order} LIMIT ?"


class Reviews(Repository):
    def find(self, assistant_id: str, wanted: ReviewFilter, limit: int = MOST) -> FoundItems:
        """Return at most `limit` finished answers with a text, those that were rated, decided or given last first."""
        with self._file.reading() as transaction:
            ids = None
            if wanted.text.strip():
                hits = self._other(Search).find(assistant_id, wanted.text, MOST)
                ids = hits + [row["id"] for row in transaction.rows(_ANSWERS_TO, [hits])]
            found: dict[str, None] = {}
            walks = queries(assistant_id, wanted, ids)
            more = False
            for query in walks:
                share = limit // len(walks)  # so that a pile of one kind does not hide the others
                rows = transaction.rows(query.sql(), [*query.first, *query.values, share])
                more = more or len(rows) == share
                found.update(dict.fromkeys(row["id"] for row in rows))
            return FoundItems(_items(transaction, list(found)), more)

    def item(self, message_id: str) -> ReviewItem | None:
        """Return one answer as it is now; None when it was deleted."""
        with self._file.reading() as transaction:
            return next(iter(_items(transaction, [message_id])), None)

    def items(self, message_ids: Sequence[str]) -> list[ReviewItem]:
        """Return answers as they are now, in the order given; without those that were deleted."""
        with self._file.reading() as transaction:
            return _items(transaction, message_ids)

    def newest_questions(self, assistant_id: str, limit: int = MOST) -> list[str]:
        """Return the questions of the conversations that changed last, against which a rare question shows."""
        return [row["text"] for row in self._rows(NEWEST_QUESTIONS, [assistant_id, limit])]

    def raters(self) -> list[str]:
        """Return everybody who has ever rated, in alphabetical order; at most 500."""
        return [row["name"] for row in self._rows(_DIFFERENT.format("rater"), [_CHOICES])]

    def reasons(self) -> list[str]:
        """Return every reason that was ever given, in alphabetical order; at most 500."""
        return [row["name"] for row in self._rows(_DIFFERENT.format("reason"), [_CHOICES])]


def queries(assistant_id: str, wanted: ReviewFilter, ids: Sequence[str] | None) -> list[Query]:
    """Return one walk for each kind of answer that is wanted. `ids` are those that a search found."""
    kinds = [wanted.show]
    if wanted.show is Show.WORTH:
        kinds = [Show.DOWN, Show.CORRECTED, Show.UP, Show.UNRATED]
    if wanted.rater or wanted.reason:
        kinds = [kind for kind in kinds if kind is not Show.UNRATED]
    return [_query(assistant_id, wanted, kind, ids) for kind in kinds]


def _query(assistant_id: str, wanted: ReviewFilter, kind: Show, ids: Sequence[str] | None) -> Query:
    rating, values = _of_rating(wanted, kind)
    if ids is not None:
        query = Query(_BY_ID, "wanted.key", first=[list(dict.fromkeys(ids))])
    elif kind is Show.DECIDED:
        query = Query(_BY_DECISION, "d.seq DESC")
    elif rating:
        query = Query(_BY_RATING, "r.seq DESC")
    elif wanted.deployment_id is not None:
        query = Query(_BY_DEPLOYMENT, "m.created_at DESC")
        query.where("m.prompt_tokens IS NOT NULL")  # so that the index on what was measured serves
    else:
        query = Query(_BY_CONVERSATION, "c.updated_at DESC")
    query.where("c.assistant_id = ?", assistant_id)
    query.where("m.role = 'assistant' AND m.status IN ('complete', 'stopped') AND m.text <> ''")
    if kind is Show.DECIDED:
        effective = f"SELECT 1 FROM decisions d WHERE d.message_id = m.id AND {IS_EFFECTIVE}"
        query.where(IS_EFFECTIVE if query.source is _BY_DECISION else f"EXISTS ({effective})")
    else:
        query.where(_UNDECIDED)
    if kind is Show.UNRATED:
        query.where("NOT EXISTS (SELECT 1 FROM ratings r WHERE r.message_id = m.id)")
    elif rating and query.source is _BY_RATING:
        query.where(f"{IS_LATEST} AND {' AND '.join(rating)}", *values)
    elif rating:
        query.where(f"EXISTS ({_ITS_RATING} AND {IS_LATEST} AND {' AND '.join(rating)})", *values)
    if wanted.deployment_id is not None:
        query.where("m.deployment_id = ?", wanted.deployment_id)
    if wanted.since is not None:
        query.where("m.created_at >= ?", wanted.since)
    if wanted.until is not None:
        query.where("m.created_at < ?", wanted.until)
    return query


def _of_rating(wanted: ReviewFilter, kind: Show) -> tuple[list[str], list[str]]:
    """Return the conditions on one rating and their values; none where ratings do not matter."""
    kinds = {
        Show.DOWN: ["r.verdict = 'down'"],
        Show.UP: ["r.verdict = 'up'"],
        Show.CORRECTED: ["r.correction IS NOT NULL"],
    }
    conditions: list[str] = kinds.get(kind, [])
    values: list[str] = []
    if wanted.rater:
        conditions, values = [*conditions, "r.rater = ?"], [*values, wanted.rater]
    if wanted.reason:
        conditions, values = [*conditions, "r.reason = ? AND r.reason <> ''"], [*values, wanted.reason]
    return conditions, values


def _items(transaction: Transaction, ids: Sequence[str]) -> list[ReviewItem]:
    wanted = [list(ids)]
    ratings = ratings_by_message(transaction.rows(LATEST_OF_MESSAGES, wanted))
    decisions = effective_by_message(transaction.rows(EFFECTIVE_OF_MESSAGES, wanted))
    return [
        _item(row, ratings=ratings.get(row["message_id"], ()), decision=decisions.get(row["message_id"]))
        for row in transaction.rows(ITEMS, wanted)
    ]


_item = mapper(ReviewItem, given=["ratings", "decision"])
