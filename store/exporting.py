"""The store → a file of conversations or of answers, in one of the formats.

In: a store, an assistant, a path and a format. Out: a new file, and how many rows it has. It gets its name only when it
is complete and on the disk. Memory is bounded by one page. Does not know what a row of a format looks like.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from store.audit import Deed
from store.carried import AssistantCard
from store.errors import NotSaved, StoreError
from store.formats import JSON_FORMATS, Format, table
from store.new_file import new_file
from store.recognition import names
from store.store import Store

STDOUT = Path("-")
_CSV_START = b"\xef\xbb\xbf"  # by which a spreadsheet knows that the file is UTF-8


def export_file(
    store: Store,
    assistant_id: str,
    path: Path,
    format_name: str,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Write a new file, or standard output for “-”; returns how many rows. `progress` is told how many conversations.

    Raises NotFound for the assistant, Conflict when the file exists, NotSaved when it cannot be written.
    """
    if format_name not in names():
        raise StoreError(f"There is no format {format_name!r}. Choose one of {', '.join(names())}.")
    prompts = tuple(store.prompts(assistant_id))
    found = store.assistant(assistant_id)
    card = AssistantCard(found.id, found.name, found.scorer, found.created_at, found.starters, prompts)
    format = next((format for format in JSON_FORMATS if format.name == format_name), None)
    noting = store.noting(Deed.EXPORTED, assistant_id, {"file": path.name, "format": format_name})
    with noting as told, _new_file(path) as file:
        if format is None:
            rows = _write_table(file, store, card.id, progress)
        else:
            as_list = path.suffix == ".json" or (format.is_list and path.suffix != ".jsonl")
            rows = _write_json(file, store, card, format, as_list, progress)
        told["rows"] = rows
    return rows


def _write_json(
    file: BinaryIO,
    store: Store,
    card: AssistantCard,
    format: Format,
    as_list: bool,
    progress: Callable[[int], None],
) -> int:
    encode = msgspec.json.Encoder().encode
    before, between, after = (b"[\n", b",\n", b"\n]\n") if as_list else (b"", b"\n", b"\n")
    rows = 0
    file.write(before)
    if format.heading is not None:
        file.write(encode(format.heading(card)))
    for done, whole in enumerate(store.whole_conversations(card.id), start=1):
        for row in format.write(whole):
            file.write((between if rows or format.heading else b"") + encode(row))
            rows += 1
        progress(done)
    file.write(after if as_list or rows or format.heading else b"")
    return rows


def _write_table(file: BinaryIO, store: Store, assistant_id: str, progress: Callable[[int], None]) -> int:
    text = io.StringIO(newline="")
    # Every cell in quotes, or a cell could end early where a spreadsheet takes another sign for the delimiter.
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(table.COLUMNS)
    file.write(_CSV_START)
    rows = 0
    for done, whole in enumerate(store.whole_conversations(assistant_id), start=1):
        for row in table.rows(whole):
            writer.writerow(row)
            rows += 1
        file.write(text.getvalue().encode())
        text.seek(0)
        text.truncate()
        progress(done)
    file.write(text.getvalue().encode())
    return rows


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
