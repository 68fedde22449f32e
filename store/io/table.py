"""Rows of a table: each a question, its answer and one rater's rating of it.

Rows of one conversation follow each other: a higher `turn` goes on, the same one is another rating, 1 begins another
branch. Cells are written so that no spreadsheet takes one for a formula.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from store.errors import BadRow, StoreError
from store.io.records import (
    FINISHED,
    FullConversation,
    ImportedConversation,
    ImportedMessage,
    ImportedRating,
    path_to,
)
from store.records import Message, Role, Verdict

COLUMNS = (
    *("conversation", "turn", "question", "asked_at", "answer", "answered_at"),
    *("verdict", "correction", "reason", "comment", "rater", "rated_at"),
    "finish_reason",
)
# What other tools call the same column.
_OTHER_NAMES = {
    "conversation": ("conversation_id", "chat_id", "session_id", "thread_id"),
    "question": ("prompt", "input", "user", "instruction", "query"),
    "answer": ("response", "output", "completion", "assistant"),
    "answered_at": ("created_at", "timestamp", "time", "date"),
    "verdict": ("rating", "label", "thumb", "thumbs", "feedback"),
    "correction": ("corrected", "corrected_answer", "ideal", "ideal_answer", "expected"),
    "comment": ("comments", "note", "notes"),
    "rater": ("rated_by", "annotator", "reviewer"),
    "finish_reason": ("stop_reason", "done_reason"),
}
_VERDICTS = {
    Verdict.UP: {"up", "1", "+1", "1.0", "good", "yes", "true", "like", "positive", "👍"},
    Verdict.DOWN: {"down", "-1", "0", "0.0", "-1.0", "bad", "no", "false", "dislike", "negative", "👎"},
}
# What a spreadsheet may run, by OWASP's list: = + - @ tab, carriage return and line feed, and the full-width signs.
# An apostrophe before it makes it text. One more goes before texts that begin like that already, so that taking one
# away gives back every text exactly.
_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")


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


def parse_time(cell: str, column: str) -> float | None:
    """Seconds since 1970 from ISO 8601 (UTC where no zone is given) or from a number; None for an empty cell."""
    if not cell.strip():
        return None
    with suppress(ValueError):
        return float(cell)
    try:
        at = datetime.fromisoformat(cell.strip())
    except ValueError as error:
        raise BadRow(f"its {column} is {cell[:40]!r}. Write it as 2031-05-01T09:30:00.") from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _parse_verdict(cell: str) -> Verdict | None:
    word = cell.strip().casefold()
    for verdict, words in _VERDICTS.items():
        if word in words:
            return verdict
    if word:
        raise BadRow(f"its verdict is {cell[:40]!r}. Write up or down, or leave it empty.")
    return None


def write(conversation: FullConversation) -> Iterator[list[str]]:
    """The cells of each row, branch after branch."""
    ratings = {answer.message.id: answer.ratings for answer in conversation.answers()}
    for branch in _branches(conversation):
        for turn, (question, answer) in enumerate(_pairs(branch), start=1):
            asked = [escape_formula(conversation.conversation.id), str(turn), escape_formula(question.text)]
            asked.append(time_cell(question.created_at))
            if answer is None:
                yield [*asked, *[""] * 9]
                continue
            end = answer.finish_reason or ("" if answer.is_whole else answer.status.value)
            answered = [escape_formula(answer.text), time_cell(answer.created_at)]
            if not ratings[answer.id]:
                yield [*asked, *answered, *[""] * 6, escape_formula(end)]
            for rating in ratings[answer.id]:
                texts = (rating.correction or "", rating.reason, rating.comment, rating.rater)
                verdict, at = rating.verdict or "", time_cell(rating.created_at)
                yield [*asked, *answered, verdict, *map(escape_formula, texts), at, escape_formula(end)]


def _branches(conversation: FullConversation) -> Iterator[list[Message]]:
    """Every branch from its first message to its last, without answers that failed."""
    by_id = {message.id: message for message in conversation.messages}
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


def _pairs(branch: Sequence[Message]) -> Iterator[tuple[Message, Message | None]]:
    for message, below in zip(branch, [*branch[1:], None], strict=True):
        if message.role is Role.USER:
            yield message, below if below is not None and below.role is Role.ASSISTANT else None


def find_columns(header: Sequence[str]) -> dict[str, int] | None:
    """Where each column is; None when this is not the header of such a table."""
    names = [unescape_formula(cell).strip().casefold().replace(" ", "_").replace("-", "_") for cell in header]
    found = {}
    for column in COLUMNS:
        for name in (column, *_OTHER_NAMES.get(column, ())):
            if name in names:
                found[column] = names.index(name)
                break
    return found if "question" in found and "answer" in found else None


@dataclass
class _Open:
    """The conversation that is being read."""

    key: str = ""
    line: int = 0  # of its first row
    turn: int = 0
    messages: list[ImportedMessage] = field(default_factory=list)


Rows = Iterable[tuple[int, list[str] | BadRow]]


def read(rows: Rows) -> Iterator[tuple[int, ImportedConversation | BadRow]]:
    """Each conversation with the line of its first row, and each row that cannot be imported; the first is the header.

    Knows only the conversation that is being read. Raises StoreError when there is no header.
    """
    rows = iter(rows)
    columns = _header(next(rows, (1, []))[1])
    current, refused = _Open(), ""
    for line, cells in rows:
        key = ""
        try:
            row = _named(cells, columns)
            key = row.get("conversation", "")
            same = bool(key) and key == current.key
            turn = _turn(row, current, same)
            if key and key == refused and turn > 1:
                raise BadRow(f"an earlier turn of conversation {key!r} was refused.")
            pair = _messages(row)
            if same and turn == current.turn and _add_rating(current.messages, pair, turn):
                continue
        except BadRow as error:
            refused = key or refused
            yield line, error
            continue
        refused = ""
        if not same or turn <= current.turn:
            yield from _ended(current)
            current = _Open(key, line)
        current.turn = turn
        current.messages += pair
    yield from _ended(current)


def _ended(current: _Open) -> Iterator[tuple[int, ImportedConversation]]:
    if current.messages:
        yield current.line, ImportedConversation(tuple(current.messages), current.key)


def _header(cells: list[str] | BadRow) -> dict[str, int]:
    columns = None if isinstance(cells, BadRow) else find_columns(cells)
    if columns is None:
        raise StoreError(f"The table's header needs the columns question and answer. It is: {cells}.")
    return columns


def _named(cells: list[str] | BadRow, columns: Mapping[str, int]) -> dict[str, str]:
    if isinstance(cells, BadRow):
        raise cells
    row = {name: unescape_formula(cells[place]) for name, place in columns.items() if place < len(cells)}
    if "answer" not in row or "question" not in row:
        raise BadRow(f"it has {len(cells)} cells, too few for its question and answer.")
    return row


def _turn(row: Mapping[str, str], current: _Open, same: bool) -> int:
    number = row.get("turn", "").strip()
    if number:
        if not number.isascii() or not number.isdigit() or len(number) > 9:
            raise BadRow(f"its turn is {number[:40]!r}. It has to be a whole number.")
        return int(number)
    repeated = [row["question"], row["answer"]] == [message.text for message in current.messages[-2:]]
    return current.turn + (not repeated) if same else 1


def _add_rating(messages: list[ImportedMessage], pair: Sequence[ImportedMessage], turn: int) -> bool:
    """Whether the row is another rating of the last answer, which then has it too."""
    if [message.text for message in pair] == [message.text for message in messages[-len(pair) :]]:
        messages[-1] = replace(messages[-1], ratings=messages[-1].ratings + pair[-1].ratings)
        return True
    if turn > 1:
        raise BadRow(f"turn {turn} was another question or answer in the row before.")
    return False  # another branch, from the first question on


def _messages(row: Mapping[str, str]) -> list[ImportedMessage]:
    """The question, and the answer unless there is none."""
    rating = ImportedRating(
        verdict=_parse_verdict(row.get("verdict", "")),
        reason=row.get("reason", ""),
        comment=row.get("comment", ""),
        correction=row.get("correction") or None,
        rater=row.get("rater", ""),
        created_at=parse_time(row.get("rated_at", ""), "rated_at"),
    )
    unrated = rating.verdict is None and rating.correction is None and rating.created_at is None
    answered_at = parse_time(row.get("answered_at", ""), "answered_at")
    asked_at = parse_time(row.get("asked_at", ""), "asked_at")
    question = ImportedMessage(Role.USER, row["question"], answered_at if asked_at is None else asked_at)
    if not row["answer"] and unrated:
        return [question]
    answer = ImportedMessage(
        Role.ASSISTANT,
        row["answer"],
        answered_at,
        () if unrated else (rating,),
        finish_reason=row.get("finish_reason") or None,
    )
    return [question, answer]
