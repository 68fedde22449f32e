"""Finds the answers that a reviewer asks for, newest first, with the ratings and the decision about each.

Every query walks one index from its newest end and stops at the limit: of a million messages the first hundred cost
what they cost of a thousand. A filter that few messages pass walks over a million in half a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from store.columns import record_of
from store.connection import Repository
from store.decisions import IS_EFFECTIVE, Decisions
from store.ratings import IS_LATEST, Ratings
from store.records import Decision, MessageStatus, Rating, is_whole
from store.search import Search

# Items of one filter: more than anybody reviews in a day, and they are read in a tenth of a second.
MOST = 2000


class ReviewKind(StrEnum):
    WORTH = "worth a look"  # whatever may be wrong, of all the kinds below
    UNDECIDED = "undecided"
    DOWN = "rated down"
    UP = "rated up"
    CORRECTED = "corrected"
    UNRATED = "not rated"
    DECIDED = "reviewed"
    PROPOSED = "proposed"  # judgement requests, see `store.decisions`


@dataclass(frozen=True)
class ReviewFilter:
    """The answers that a reviewer asks for; an empty field filters nothing.

    Rater, reason and the kind of rating have to hold of one rating. Every kind but `DECIDED` leaves out answers that
    were decided already.
    """

    show: ReviewKind = ReviewKind.WORTH
    text: str = ""  # words in the question, the answer, a comment or a correction
    rater: str = ""
    reason: str = ""


@dataclass(frozen=True)
class ReviewItem:
    """An answer to review."""

    message_id: str
    conversation_id: str
    question: str
    answer: str
    opens: bool  # its question is the first of the conversation
    at: float
    ratings: tuple[Rating, ...]
    decision: Decision | None
    mean_ln_p: float | None = None  # mean log-probability of a token (nats), where it is known
    status: MessageStatus = MessageStatus.COMPLETE
    finish_reason: str | None = None

    @property
    def is_whole(self) -> bool:
        return is_whole(self.status, self.finish_reason)


_PLACE = "JOIN conversations c ON c.id = m.conversation_id"
_BY_RATING = f"ratings r CROSS JOIN messages m ON m.id = r.message_id CROSS {_PLACE}"
_BY_DECISION = f"decisions d CROSS JOIN messages m ON m.id = d.message_id CROSS {_PLACE}"
_BY_CONVERSATION = "conversations c CROSS JOIN messages m ON m.conversation_id = c.id"
_BY_ID = f"json_each(?4) wanted CROSS JOIN messages m ON m.id = wanted.value CROSS {_PLACE}"
_DECIDED = f"EXISTS (SELECT 1 FROM decisions d WHERE d.message_id = m.id AND {IS_EFFECTIVE})"
_OF_RATING = {
    ReviewKind.DOWN: "r.verdict = 'down'",
    ReviewKind.UP: "r.verdict = 'up'",
    ReviewKind.CORRECTED: "r.correction IS NOT NULL",
}
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
        q.parent_id IS NULL AS opens, m.created_at AS at, m.mean_ln_p,
        m.status, m.finish_reason
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


class Reviews(Repository):
    def find(
        self, assistant_id: str, wanted: ReviewFilter, limit: int = MOST
    ) -> tuple[list[ReviewItem], bool]:
        """Return finished answers, those last rated, decided or given first, and whether there may be more."""
        with self._file.reading() as transaction:
            ids: list[str] = []
            if wanted.text.strip():
                hits = self._other(Search).find(assistant_id, wanted.text, MOST)
                ids = hits + [row["id"] for row in transaction.rows(_ANSWERS_TO, [hits])]
            walks = queries(wanted)
            share = limit // max(1, len(walks))  # so that a pile of one kind does not hide the others
            values = [assistant_id, wanted.rater, wanted.reason, list(dict.fromkeys(ids)), share]
            found = [[row["id"] for row in transaction.rows(sql, values)] for sql in walks]
            each = list(dict.fromkeys(id for some in found for id in some))
            return self.items(each), any(len(some) == share for some in found)

    def item(self, message_id: str) -> ReviewItem | None:
        """Return one answer as it is now; None when it was deleted."""
        return next(iter(self.items([message_id])), None)

    def items(self, message_ids: Sequence[str]) -> list[ReviewItem]:
        """Return answers as they are now, in the order given; without those that were deleted."""
        with self._file.reading() as transaction:
            ratings = self._other(Ratings).latest(message_ids)
            decisions = self._other(Decisions).effective(message_ids)
            rows = {row["message_id"]: row for row in transaction.rows(ITEMS, [list(message_ids)])}
        return [
            record_of(ReviewItem, row, ratings=ratings.get(id, ()), decision=decisions.get(id))
            for id, row in rows.items()
        ]

    def newest_questions(self, assistant_id: str, limit: int = MOST) -> list[str]:
        """Return the questions of the conversations that changed last, against which a rare question shows."""
        return [row["text"] for row in self._rows(NEWEST_QUESTIONS, [assistant_id, limit])]

    def raters(self) -> list[str]:
        """Return everybody who has ever rated, in alphabetical order; at most 500."""
        return [row["name"] for row in self._rows(_DIFFERENT.format("rater"), [_CHOICES])]

    def reasons(self) -> list[str]:
        """Return every reason that was ever given, in alphabetical order; at most 500."""
        return [row["name"] for row in self._rows(_DIFFERENT.format("reason"), [_CHOICES])]


def queries(wanted: ReviewFilter) -> list[str]:
    """One walk for each kind of answer that is wanted.

    Its values are the assistant, the rater, the reason, the ids that a search found, and the limit.
    """
    kinds = [wanted.show]
    if wanted.show is ReviewKind.WORTH:
        kinds = [ReviewKind.DOWN, ReviewKind.CORRECTED, ReviewKind.UP, ReviewKind.UNRATED]
    if wanted.rater or wanted.reason:
        kinds = [kind for kind in kinds if kind is not ReviewKind.UNRATED]
    return [_query(wanted, kind) for kind in kinds]


def _query(wanted: ReviewFilter, kind: ReviewKind) -> str:
    rating = [_OF_RATING[kind]] if kind in _OF_RATING else []
    rating += ["r.rater = ?2"] if wanted.rater else []
    rating += ["r.reason = ?3 AND r.reason <> ''"] if wanted.reason else []
    if wanted.text.strip():
        source, order = _BY_ID, "wanted.key"
    elif kind is ReviewKind.DECIDED:
        source, order = _BY_DECISION, "d.seq DESC"
    elif rating:
        source, order = _BY_RATING, "r.seq DESC"
    else:
        source, order = _BY_CONVERSATION, "c.updated_at DESC"
    conditions = ["c.assistant_id = ?1", "m.role = 'assistant' AND m.status IN ('complete', 'stopped')"]
    conditions += ["m.text <> ''", _DECIDED if kind is ReviewKind.DECIDED else f"NOT {_DECIDED}"]
    if source is _BY_DECISION:
        conditions[-1] = IS_EFFECTIVE
    if kind is ReviewKind.UNRATED:
        conditions.append("NOT EXISTS (SELECT 1 FROM ratings r WHERE r.message_id = m.id)")
    elif rating:
        latest = " AND ".join([IS_LATEST, *rating])
        conditions.append(latest if source is _BY_RATING else f"EXISTS ({_ITS_RATING} AND {latest})")
    return f"SELECT m.id FROM {source} WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT ?5"
