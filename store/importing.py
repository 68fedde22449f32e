"""A file of conversations → the store: what can be taken in goes in, what cannot is refused with its line.

In: a path, a store and the importer's terms. Out: an `ImportSummary`, and each refused row as it is met. Memory is
bounded by two batches, however large the file. Does not know what a row of a format looks like, or how it is shown.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Self

import msgspec

from store.arrival import Terms, arrive
from store.audit import Deed
from store.carried import CarriedConversation, WholeConversation
from store.errors import BadRow, StoreError
from store.formats import table
from store.json_rows import MAX_ROW, items, lines
from store.recognition import Container, Recognised, recognise
from store.records import Role
from store.store import Store
from store.transfer import Brought

# Records that are saved in one transaction, which takes tenths of a second: a rating given meanwhile waits for it.
# With half as many an import takes a third longer, since every transaction touches most pages of the indexes.
_BATCH = 10_000

Carried = CarriedConversation | WholeConversation


@dataclass(frozen=True)
class Refusal:
    """A row that did not go in. `number` is the line of the file, or the place in its list."""

    number: int
    reason: str


@dataclass
class ImportSummary:
    """What became of the file's rows; it is counted on while they are read."""

    format: str
    unit: str  # what a row's number counts: “line” or “item”
    refused: int = 0
    conversations: int = 0
    known: int = 0  # conversations that were there already
    messages: int = 0
    ratings: int = 0
    decisions: int = 0  # of reviewers
    proposals: int = 0  # that somebody decided
    unrated: int = 0  # answers that count for nothing until somebody rates them
    without: Counter[str] = field(default_factory=Counter)  # what was left behind -> in how many rows


def import_file(
    store: Store,
    path: Path,
    terms: Terms,
    wanted: str | None = None,
    *,
    refuse: Callable[[Refusal], None] = lambda refusal: None,
    progress: Callable[[int], None] = lambda position: None,
) -> ImportSummary:
    """Bring a file in; `progress` is told how many bytes were read. Raises StoreError when none of it can be."""
    recognised = recognise(path, wanted)
    if terms.approve and recognised.name == "shorthand":
        raise StoreError(
            f"{path} is Shorthand's own export and has its ratings with it. Import it without --approve."
        )
    summary = ImportSummary(recognised.name, "item" if recognised.container is Container.LIST else "line")
    noting = store.noting(Deed.IMPORTED, terms.assistant_id, {"file": path.name, "format": recognised.name})
    with noting as told, path.open("rb") as file:
        file.seek(recognised.start)
        with ThreadPoolExecutor(1, "saving") as saving:
            importing = _Importing(store, terms, summary, refuse, saving)
            importing.take_in(_rows(file, recognised), file.tell, progress)
        counts = (summary.conversations, summary.ratings, summary.decisions, summary.refused)
        told |= dict(zip(("conversations", "ratings", "decisions", "refused"), counts, strict=True))
    return summary


class _Importing:
    """One import under way: the batch that is being filled, the one before it that is being saved, and the summary.

    SQLite waits for the disk and needs no interpreter, so that reading goes on meanwhile.
    """

    def __init__(
        self,
        store: Store,
        terms: Terms,
        summary: ImportSummary,
        refuse: Callable[[Refusal], None],
        saving: ThreadPoolExecutor,
    ) -> None:
        self._store = store
        self._terms = terms
        self._summary = summary
        self._refuse = refuse
        self._saving = saving
        self._batch: list[tuple[int, WholeConversation]] = []
        self._size = 0
        self._numbers: list[int] = []  # of the rows that are being saved
        self._saved: Future[Brought] | None = None

    def take_in(
        self,
        rows: Iterator[tuple[int, Carried | BadRow | None]],
        position: Callable[[], int],
        progress: Callable[[int], None],
    ) -> None:
        for number, carried in rows:
            if isinstance(carried, BadRow):
                self._refused(number, carried)
            elif carried is not None:
                self._add(number, carried)
                if self._size >= _BATCH:
                    self._save()
                    progress(position())
        self._save()
        self._count_saved()
        progress(position())

    def _add(self, number: int, carried: Carried) -> None:
        if isinstance(carried, WholeConversation):
            owned = replace(carried.conversation, assistant_id=self._terms.assistant_id)
            whole = replace(carried, conversation=owned)
        else:
            try:
                whole = arrive(carried, self._terms)
            except BadRow as error:
                self._refused(number, error)
                return
            self._count(carried)
        self._batch.append((number, whole))
        self._size += (
            1 + len(whole.messages) + len(whole.ratings) + len(whole.decisions) + len(whole.proposals)
        )

    def _count(self, carried: CarriedConversation) -> None:
        if carried.without:
            self._summary.without[carried.without] += 1
        if not self._terms.approve:
            for turn in carried.turns:
                if turn.role is Role.ASSISTANT and turn.counts and not turn.ratings:
                    self._summary.unrated += 1

    def _save(self) -> None:
        """Begin to save the batch, when the one before it is saved."""
        self._count_saved()
        if self._batch:
            self._numbers = [number for number, _ in self._batch]
            wholes = [whole for _, whole in self._batch]
            self._saved = self._saving.submit(self._store.bring_in, self._terms.assistant_id, wholes)
            self._batch, self._size = [], 0

    def _count_saved(self) -> None:
        if self._saved is None:
            return
        brought, self._saved = self._saved.result(), None
        self._summary.conversations += brought.conversations
        self._summary.known += brought.known
        self._summary.messages += brought.messages
        self._summary.ratings += brought.ratings
        self._summary.decisions += brought.decisions
        self._summary.proposals += brought.proposals
        for place, reason in brought.refused:
            self._refused(self._numbers[place], BadRow(reason))

    def _refused(self, number: int, error: BadRow) -> None:
        self._summary.refused += 1
        self._refuse(Refusal(number, str(error)))


def _rows(file: BinaryIO, recognised: Recognised) -> Iterator[tuple[int, Carried | BadRow | None]]:
    """Each row's number, with what is in it or why it cannot be taken in."""
    if recognised.format is None:
        yield from _table_rows(file, recognised.delimiter)
        return
    number = 0
    read = recognised.format.read
    try:
        for row in lines(file) if recognised.container is Container.LINES else items(file):
            number = row.number
            if row.data is None:
                yield number, _too_large(row.size)
                continue
            try:
                yield number, read(row.data)
            except BadRow as error:
                yield number, error
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                yield number, BadRow(_in_words(row.data, error))
    except BadRow as error:  # the list itself is broken
        yield number + 1, error


def _too_large(size: int) -> BadRow:
    return BadRow(
        f"it has {size:,} bytes; a row may have {MAX_ROW:,}. Split the conversation or leave it out."
    )


def _in_words(data: bytes, error: Exception) -> str:
    try:
        data.decode()
    except UnicodeDecodeError as wrong:
        near = data[max(0, wrong.start - 10) : wrong.start + 10]
        return f"it is not UTF-8 text: {wrong.reason} at byte {wrong.start + 1}, near {near!r}. Save the file as UTF-8."
    if isinstance(error, msgspec.ValidationError):
        return f"it is not of this format: {error}."
    try:
        row = json.loads(data)
    except json.JSONDecodeError as wrong:
        return f"it is not JSON: {wrong.msg} at character {wrong.pos + 1}."
    except (RecursionError, ValueError):
        return "it is nested too deeply."
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as wrong:
        half = wrong.object[wrong.start]
        return f"it has half a surrogate pair (\\u{ord(half):04x}), which is half of a character. Remove it."
    return f"it is not JSON: {error}."


def _table_rows(file: BinaryIO, delimiter: str) -> Iterator[tuple[int, Carried | BadRow | None]]:
    csv.field_size_limit(MAX_ROW)
    cells = csv.reader(_TextLines(file), delimiter=delimiter, strict=True)
    reader = table.TableReader(_columns(cells))
    while True:
        line = cells.line_num + 1
        try:
            row = next(cells, None)
            if row is None:
                break
            ended = reader.add(line, _checked(row)) if row else None
        except BadRow as error:
            yield line, error
        except csv.Error as error:
            yield line, BadRow(f"it is no row of a table: {error}. Is a quotation mark missing?")
        else:
            yield ended or (line, None)
    yield reader.end() or (line, None)


def _columns(cells: Iterator[list[str]]) -> dict[str, int]:
    try:
        header = next(cells, [])
    except (csv.Error, BadRow) as error:
        raise StoreError(
            f"The table's header cannot be read: {error}. Is a quotation mark missing?"
        ) from error
    columns = table.columns_of(header)
    if columns is None:
        raise StoreError(
            f"The table's header needs the columns question and answer, and has {header}. Is a quotation mark missing?"
        )
    return columns


class _TextLines:
    """Lines of text for the reader of tables, which goes on after one that is too large.

    Bytes that are no UTF-8 become surrogates, by which their row is found and refused.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_ROW + 1)
        if not line:
            raise StopIteration
        if len(line) > MAX_ROW and not line.endswith(b"\n"):
            size = len(line)
            while (rest := self._file.readline(MAX_ROW)) and not rest.endswith(b"\n"):
                size += len(rest)
            raise _too_large(size + len(rest))
        return line.decode("utf-8", "surrogateescape")


def _checked(row: list[str]) -> list[str]:
    for cell in row:
        if "\x00" in cell:
            raise BadRow(f"it has a NUL character, after {cell.split(chr(0))[0][-20:]!r}. Remove it.")
        try:
            cell.encode()
        except UnicodeEncodeError as error:
            byte = ord(cell[error.start]) - 0xDC00
            raise BadRow(
                f"it is not UTF-8 text: byte 0x{byte:02x} near {cell[max(0, error.start - 10) : error.start]!r}. "
                "Save the table as CSV UTF-8."
            ) from error
    return row
