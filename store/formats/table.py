"""Rows of a CSV table ⇄ conversations: a row is a question, its answer and one rater's rating of it.

In: cells, whole conversations. Out: conversations, cells. Pure. Rows of one conversation follow each other: a higher
`turn` goes on, the same one is another rating, 1 begins another branch. Does not know files or delimiters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from store.carried import CarriedConversation, CarriedRating, CarriedTurn, WholeConversation
from store.errors import BadRow
from store.formats.answers import FINISHED, answers, path
from store.formats.cells import guarded, time_cell, time_of, unguarded, verdict_of
from store.records import Message, Role

NAME = "csv"
CARRIES = "each question with its answer and one rating; of an answer with several raters, several rows"
LEAVES = "earlier ratings, reviewers' decisions, answers that failed or are empty, titles, and parts of microseconds"
COLUMNS = (
    "conversation",
    "turn",
    "question",
    "asked_at",
    "answer",
    "answered_at",
    "verdict",
    "correction",
    "reason",
    "comment",
    "rater",
    "rated_at",
)
# What other tools call the same column.
_ALSO = {
    "conversation": ("conversation_id", "chat_id", "session_id", "thread_id"),
    "question": ("prompt", "input", "user", "instruction", "query"),
    "answer": ("response", "output", "completion", "assistant"),
    "answered_at": ("created_at", "timestamp", "time", "date"),
    "verdict": ("rating", "label", "thumb", "thumbs", "feedback"),
    "correction": ("corrected", "corrected_answer", "ideal", "ideal_answer", "expected"),
    "comment": ("comments", "note", "notes"),
    "rater": ("rated_by", "annotator", "reviewer"),
}


def columns_of(header: Sequence[str]) -> dict[str, int] | None:
    """Where each column is; None when this is not the header of such a table."""
    names = [unguarded(cell).strip().casefold().replace(" ", "_").replace("-", "_") for cell in header]
    found = {}
    for column in COLUMNS:
        for name in (column, *_ALSO.get(column, ())):
            if name in names:
                found[column] = names.index(name)
                break
    return found if "question" in found and "answer" in found else None


def rows(whole: WholeConversation) -> Iterator[list[str]]:
    """The cells of each row, branch after branch."""
    ratings = {answer.message.id: answer.ratings for answer in answers(whole)}
    for branch in _branches(whole):
        for turn, (question, answer) in enumerate(_pairs(branch), start=1):
            asked = [guarded(whole.conversation.id), str(turn), guarded(question.text)]
            asked.append(time_cell(question.created_at))
            if answer is None:
                yield [*asked, *[""] * 8]
                continue
            answered = [guarded(answer.text), time_cell(answer.created_at)]
            if not ratings[answer.id]:
                yield [*asked, *answered, *[""] * 6]
            for rating in ratings[answer.id]:
                texts = (rating.correction or "", rating.reason, rating.comment, rating.rater)
                verdict, at = rating.verdict or "", time_cell(rating.created_at)
                yield [*asked, *answered, verdict, *map(guarded, texts), at]


def _branches(whole: WholeConversation) -> Iterator[list[Message]]:
    """Every branch from its first message to its last, without answers that failed."""
    kept = {m.id: m for m in whole.messages if m.role is Role.USER or m.status in FINISHED}
    by_id = {message.id: message for message in whole.messages}

    def above(message: Message) -> str | None:
        parent = message.parent_id
        while parent is not None and parent not in kept:
            parent = by_id[parent].parent_id
        return parent

    inner = {above(message) for message in kept.values()}
    for message in kept.values():
        if message.id not in inner:
            yield [turn for turn in path(message, by_id) if turn.id in kept]


def _pairs(branch: Sequence[Message]) -> Iterator[tuple[Message, Message | None]]:
    for number, message in enumerate(branch):
        if message.role is Role.USER:
            below = branch[number + 1] if number + 1 < len(branch) else None
            yield message, below if below is not None and below.role is Role.ASSISTANT else None


Ended = tuple[int, CarriedConversation]  # the line where it began, and what it is


class TableReader:
    """Puts the rows of a table together to conversations, and knows of them only the one that is being read."""

    def __init__(self, columns: dict[str, int]) -> None:
        self._columns = columns
        self._key = ""
        self._turn = 0
        self._begun = 0  # the line of its first row
        self._turns: list[CarriedTurn] = []
        self._broken: str | None = None  # the conversation of which a row was refused

    def add(self, line: int, cells: Sequence[str]) -> Ended | None:
        """The conversation that ended before this row, if one did. Raises BadRow."""
        row = self._row(cells)
        key = row.get("conversation", "")
        try:
            turn = self._number(row, key)
            if self._broken is not None and key == self._broken and turn > 1:
                raise BadRow(f"an earlier turn of conversation {key!r} was refused.")
            pair = _turns(row)
            goes_on = bool(key) and key == self._key and turn > self._turn
            if key and key == self._key and turn == self._turn and self._adds_rating(pair, turn):
                return None
        except BadRow:
            self._broken = key or None
            raise
        self._broken = None
        ended = None if goes_on else self.end()
        if not goes_on:
            self._begun = line
        self._key, self._turn = key, turn
        self._turns += pair
        return ended

    def end(self) -> Ended | None:
        """The last conversation, if there is one."""
        turns, self._turns = tuple(self._turns), []
        return (self._begun, CarriedConversation(turns, self._key)) if turns else None

    def _row(self, cells: Sequence[str]) -> dict[str, str]:
        row = {
            column: unguarded(cells[place]) for column, place in self._columns.items() if place < len(cells)
        }
        if "answer" not in row or "question" not in row:
            raise BadRow(f"it has {len(cells)} cells, too few for its question and answer.")
        return row

    def _number(self, row: dict[str, str], key: str) -> int:
        told = row.get("turn", "").strip()
        if told:
            if not told.isascii() or not told.isdigit() or len(told) > 9:
                raise BadRow(f"its turn is {told[:40]!r}. It has to be a whole number.")
            return int(told)
        same = [row["question"], row["answer"]] == [turn.text for turn in self._turns[-2:]]
        return self._turn + (not same) if key and key == self._key else 1

    def _adds_rating(self, pair: Sequence[CarriedTurn], turn: int) -> bool:
        before = self._turns[-len(pair) :]
        if [turn.text for turn in pair] == [turn.text for turn in before]:
            last = before[-1]
            self._turns[-1] = replace(last, ratings=last.ratings + pair[-1].ratings)
            return True
        if turn > 1:
            raise BadRow(f"turn {turn} was another question or answer in the row before.")
        return False  # another branch, from the first question on


def _turns(row: dict[str, str]) -> list[CarriedTurn]:
    """The question, and the answer unless there is none."""
    rating = CarriedRating(
        verdict=verdict_of(row.get("verdict", "")),
        reason=row.get("reason", ""),
        comment=row.get("comment", ""),
        correction=row.get("correction") or None,
        rater=row.get("rater", ""),
        created_at=time_of(row.get("rated_at", ""), "rated_at"),
    )
    unrated = rating.verdict is None and rating.correction is None and rating.created_at is None
    answered_at = time_of(row.get("answered_at", ""), "answered_at")
    asked_at = time_of(row.get("asked_at", ""), "asked_at")
    question = CarriedTurn(Role.USER, row["question"], answered_at if asked_at is None else asked_at)
    if not row["answer"] and unrated:
        return [question]
    answer = CarriedTurn(Role.ASSISTANT, row["answer"], answered_at, () if unrated else (rating,))
    return [question, answer]
