"""Rows of a table: each a question, its answer and one rater's rating of it.

Rows of one conversation follow each other: a higher `turn` goes on, the same one is another rating, 1 begins another
branch. Cells are written so that no spreadsheet takes one for a formula.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from store.errors import BadRow
from store.io.meaning import Meaning
from store.io.records import (
    FINISHED,
    FullConversation,
    ImportedConversation,
    ImportedMessage,
    ImportedRating,
    path_to,
)
from store.records import Message, Rating, Role

# What a spreadsheet may run, by OWASP's list: = + - @ tab, carriage return and line feed, and the full-width signs.
# An apostrophe before it makes it text. One more goes before texts that begin like that already, so that taking one
# away gives back every text exactly.
_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")


_TIMES = ("rated_at", "answered_at", "asked_at")


def escape_formula(text: str) -> str:
    """The text as a cell."""
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_formula(cell: str) -> str:
    """The text of a cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def time_cell(at: float) -> str:
    """UTC in ISO 8601, to the microsecond; seconds since 1970 where a calendar has no such day."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return repr(at)


def write(conversation: FullConversation) -> Iterator[list[str]]:
    """The cells of each row, branch after branch."""
    ratings = {answer.message.id: answer.ratings for answer in conversation.answers()}
    for branch in _branches(conversation):
        turn = 0
        for question, answer in zip(branch, [*branch[1:], None], strict=True):
            if question.role is Role.ASSISTANT:
                continue
            turn += 1
            asked = [conversation.conversation.id, str(turn), question.text, time_cell(question.created_at)]
            rows = [[""] * 9]
            if answer is not None and answer.role is Role.ASSISTANT:
                answered = [answer.text, time_cell(answer.created_at)]
                end = answer.finish_reason or ("" if answer.is_whole else answer.status.value)
                rated = [_rating_cells(rating) for rating in ratings[answer.id]] or [[""] * 6]
                rows = [[*answered, *cells, end] for cells in rated]
            yield from ([escape_formula(cell) for cell in (*asked, *row)] for row in rows)


def _rating_cells(rating: Rating) -> list[str]:
    texts = (rating.correction or "", rating.reason, rating.comment, rating.rater)
    return [rating.verdict or "", *texts, time_cell(rating.created_at)]


def _branches(conversation: FullConversation) -> Iterator[list[Message]]:
    """Every branch from its first message to its last, without answers that failed."""
    by_id: dict[str | None, Message] = {message.id: message for message in conversation.messages}
    written = {id for id, m in by_id.items() if m.role is Role.USER or m.status in FINISHED}
    leaves: list[Message] = []
    inner: set[str | None] = set()  # what something that is written follows
    for message in reversed(conversation.messages):
        if message.id in inner or message.id in written:
            inner.add(message.parent_id)
            if message.id not in inner:
                leaves.append(message)
    for leaf in reversed(leaves):
        yield [message for message in path_to(leaf, by_id) if message.id in written]


@dataclass
class _Open:
    """The conversation that is being read."""

    key: str = ""
    line: int = 0  # of its first row
    turn: int = 0
    messages: list[ImportedMessage] = field(default_factory=list)

    def ends_with(self, messages: Sequence[ImportedMessage]) -> bool:
        last = self.messages[-len(messages) :]
        return [message.text for message in messages] == [message.text for message in last]

    def ended(self) -> Iterator[tuple[int, ImportedConversation]]:
        if self.messages:
            yield self.line, ImportedConversation(tuple(self.messages), self.key)


def read(
    rows: Iterable[tuple[int, Any]], meaning: Meaning
) -> Iterator[tuple[int, ImportedConversation | BadRow]]:
    """Each conversation with the line of its first row, and each row that cannot be imported; one at a time."""
    current, refused = _Open(), ""
    for line, row in rows:
        key = ""
        try:
            cells = _cells(row, meaning)
            key = cells.get("conversation", "")
            messages = _messages(cells, meaning)
            same = key != "" and key == current.key
            turn = _turn(cells.get("turn", "").strip(), messages, current if same else None)
            if key and key == refused and turn > 1:
                raise BadRow(f"an earlier turn of conversation {key!r} was refused.")
            if same and turn == current.turn:
                if current.ends_with(messages):  # another rating of the last answer
                    ratings = current.messages[-1].ratings + messages[-1].ratings
                    current.messages[-1] = replace(current.messages[-1], ratings=ratings)
                    continue
                if turn > 1:
                    raise BadRow(f"turn {turn} was another question or answer in the row before.")
        except BadRow as error:
            refused = key or refused
            yield line, error
            continue
        refused = ""
        # Another conversation, or another branch from its first question on.
        if not same or turn <= current.turn:
            yield from current.ended()
            current = _Open(key, line)
        current.turn = turn
        current.messages += messages
    yield from current.ended()


def _cells(row: Any, meaning: Meaning) -> dict[str, str]:
    if isinstance(row, BadRow):
        raise row
    cells = meaning.cells(row) if isinstance(row, dict) else {}
    for column in ("question", "answer"):
        if column not in cells:
            raise BadRow(f"it has no {column}; it has {len(row) if isinstance(row, dict) else 0} cells.")
    return cells


def _turn(number: str, messages: Sequence[ImportedMessage], current: _Open | None) -> int:
    if not number:
        return 1 if current is None else current.turn + (not current.ends_with(messages))
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise BadRow(f"its turn is {number[:40]!r}. It has to be a whole number.")
    return int(number)


def _messages(cells: Mapping[str, str], meaning: Meaning) -> list[ImportedMessage]:
    """The question, and the answer unless there is none."""
    text = cells.get
    times = {name: meaning.time(cells[name], name) for name in _TIMES if name in cells}
    rating = ImportedRating(
        meaning.scale.verdict(text("verdict", "")),
        text("reason", ""),
        text("comment", ""),
        text("correction") or None,
        text("rater", ""),
        times.get("rated_at"),
    )
    answered_at, asked_at = times.get("answered_at"), times.get("asked_at")
    is_rated = rating.verdict is not None or rating.correction is not None or rating.created_at is not None
    asked = ImportedMessage(Role.USER, cells["question"], answered_at if asked_at is None else asked_at)
    if not cells["answer"] and not is_rated:
        return [asked]
    ratings = (rating,) if is_rated else ()
    end = text("finish_reason") or None
    answer = ImportedMessage(Role.ASSISTANT, cells["answer"], answered_at, ratings, finish_reason=end)
    return [asked, answer]
