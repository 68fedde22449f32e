"""Exports an assistant's conversations to a new file, which is complete and on the disk, or not there.

Memory is bounded by one page of the store.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from store.audit import Deed
from store.errors import NotSaved
from store.io import table
from store.io.formats import CSV, FORMATS, find_format
from store.io.records import FullConversation
from store.new_file import new_file
from store.store import Store

STDOUT = Path("-")

EXPORT_HELP = "\n\n".join(
    [
        "Write an assistant's conversations to a new file, also while the product is running.",
        "JSON formats are written a row a line; a name that ends in .json makes one list of it.",
        *(f"{format.name}: one row for {format.row}. Left out: {format.left_out}." for format in FORMATS),
    ]
)


def export_file(
    store: Store,
    assistant_id: str,
    path: Path,
    format_name: str,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Write a new file, or standard output for “-”; returns how many rows. `progress` gets how many conversations.

    Raises NotFound for the assistant, Conflict when the file exists, NotSaved when it cannot be written.
    """
    format = find_format(format_name)
    assistant, prompts = store.assistant(assistant_id), store.prompts(assistant_id)
    first = [format.first_row(assistant, prompts)] if format.first_row else []
    rows = _Rows(store.whole_conversations(assistant_id), format.write, progress)
    noting = store.noting(Deed.EXPORTED, assistant_id, {"file": path.name, "format": format_name})
    with noting as detail, _new_file(path) as file:
        if format is CSV:
            _write_table(file, rows)
        else:
            as_list = path.suffix == ".json" or (format.is_list and path.suffix != ".jsonl")
            _write_json(file, first, rows, as_list)
        detail["rows"] = rows.count
    return rows.count


class _Rows:
    """The rows of all conversations, counted while they are written."""

    def __init__(
        self,
        conversations: Iterable[FullConversation],
        write: Callable[[FullConversation], Iterator[Any]],
        progress: Callable[[int], None],
    ) -> None:
        self._conversations, self._write, self._progress = conversations, write, progress
        self.count = 0

    def __iter__(self) -> Iterator[Any]:
        for done, conversation in enumerate(self._conversations, start=1):
            for row in self._write(conversation):
                self.count += 1
                yield row
            self._progress(done)


def _write_json(file: BinaryIO, first: Sequence[Any], rows: Iterable[Any], as_list: bool) -> None:
    encode = msgspec.json.Encoder().encode
    start, between, end = (b"[\n", b",\n", b"\n]\n") if as_list else (b"", b"\n", b"\n")
    file.write(start)
    separator = b""
    for row in chain(first, rows):
        file.write(separator + encode(row))
        separator = between
    file.write(end if as_list or separator else b"")


def _write_table(file: BinaryIO, rows: Iterable[Any]) -> None:
    # By the mark of “utf-8-sig” a spreadsheet knows that the file is UTF-8.
    text = TextIOWrapper(file, "utf-8-sig", newline="")
    try:
        # Every cell in quotes, or a cell could end early where a spreadsheet takes another sign for the delimiter.
        writer = csv.writer(text, quoting=csv.QUOTE_ALL)
        writer.writerow(table.COLUMNS)
        writer.writerows(rows)
    finally:
        text.detach()


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    if path == STDOUT:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails again at its end
            raise NotSaved("Whoever read the export stopped before its end.") from error
        return
    with new_file(path.absolute(), "The export") as partial, partial.open("wb", buffering=2**20) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
