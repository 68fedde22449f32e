"""Rows of a table: each a question, its answer and one rater's rating of it.

Rows of one conversation follow each other: a higher `turn` goes on, the same one is another rating, 1 begins another
branch. Cells are written so that no spreadsheet takes one for a formula.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from store.errors import BadRow
from store.io.meaning import Meaning, plain
from store.io.records import (
    FINISHED,
    FullConversation,
    ImportedConversation,
    ImportedMessage,
    ImportedRating,
    path_to,
)
from store.records import Message, Role

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


@dataclass
class _Open:
    """The conversation that is being read."""

    key: str = ""
    line: int = 0  # of its first row
    turn: int = 0
    messages: list[ImportedMessage] = field(default_factory=list)


def read(
    rows: Iterable[tuple[int, Any]], meaning: Meaning
) -> Iterator[tuple[int, ImportedConversation | BadRow]]:
    """Each conversation with the line of its first row, and each row that cannot be imported.

    Knows only the conversation that is being read.
    """
    current, refused = _Open(), ""
    for line, row in rows:
        key = ""
        try:
            row = _named(row, meaning)
            key = meaning.text(row, "conversation")
            same = bool(key) and key == current.key
            pair = _messages(row, meaning)
            turn = _turn(meaning.text(row, "turn").strip(), pair, current, same)
            if key and key == refused and turn > 1:
                raise BadRow(f"an earlier turn of conversation {key!r} was refused.")
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


def _named(row: Any, meaning: Meaning) -> dict[str, Any]:
    """The row by plain names."""
    if isinstance(row, BadRow):
        raise row
    named = {plain(name): value for name, value in row.items()} if isinstance(row, dict) else {}
    for column in ("question", "answer"):
        if meaning.columns.get(column) not in named:
            raise BadRow(f"it has no {column}; it has {len(named)} cells.")
    return named


def _turn(number: str, pair: Sequence[ImportedMessage], current: _Open, same: bool) -> int:
    if number:
        if not number.isascii() or not number.isdigit() or len(number) > 9:
            raise BadRow(f"its turn is {number[:40]!r}. It has to be a whole number.")
        return int(number)
    repeated = _texts(pair) == _texts(current.messages[-len(pair) :])
    return current.turn + (not repeated) if same else 1


def _texts(messages: Sequence[ImportedMessage]) -> list[str]:
    return [message.text for message in messages]


def _add_rating(messages: list[ImportedMessage], pair: Sequence[ImportedMessage], turn: int) -> bool:
    """Whether the row is another rating of the last answer, which then has it too."""
    if _texts(pair) == _texts(messages[-len(pair) :]):
        messages[-1] = replace(messages[-1], ratings=messages[-1].ratings + pair[-1].ratings)
        return True
    if turn > 1:
        raise BadRow(f"turn {turn} was another question or answer in the row before.")
    return False  # another branch, from the first question on


def _messages(row: Mapping[str, Any], meaning: Meaning) -> list[ImportedMessage]:
    """What was said before, where a row has a `history`, the question, and the answer unless there is none."""
    rating = ImportedRating(
        verdict=meaning.verdict(row),
        reason=meaning.text(row, "reason"),
        comment=meaning.text(row, "comment"),
        correction=meaning.text(row, "correction") or None,
        rater=meaning.text(row, "rater"),
        created_at=meaning.time(meaning.text(row, "rated_at"), "rated_at"),
    )
    unrated = rating.verdict is None and rating.correction is None and rating.created_at is None
    answered_at = meaning.time(meaning.text(row, "answered_at"), "answered_at")
    asked_at = meaning.time(meaning.text(row, "asked_at"), "asked_at")
    asked = answered_at if asked_at is None else asked_at
    messages = [*_before(row), ImportedMessage(Role.USER, meaning.question(row), asked)]
    text = meaning.text(row, "answer")
    if text or not unrated:
        end = meaning.text(row, "finish_reason") or None
        ratings = () if unrated else (rating,)
        messages.append(ImportedMessage(Role.ASSISTANT, text, answered_at, ratings, finish_reason=end))
    return messages


def _before(row: Mapping[str, Any]) -> Iterator[ImportedMessage]:
    """As LLaMA-Factory writes them: a system text, and the turns before as pairs."""
    if isinstance(row.get("system"), str) and row["system"].strip():
        yield ImportedMessage(Role.USER, "", is_system=True)
    history = row.get("history")
    for turn in history if isinstance(history, list) else ():
        if not isinstance(turn, list) or len(turn) != 2 or not all(isinstance(text, str) for text in turn):
            raise BadRow("its history is not a list of questions with their answers.")
        yield ImportedMessage(Role.USER, turn[0])
        yield ImportedMessage(Role.ASSISTANT, turn[1], is_context=True)
