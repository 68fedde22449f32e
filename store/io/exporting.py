"""Exports an assistant's conversations, page by page, to a file that is complete and on the disk, or not there."""

import codecs
import csv
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from store.audit import AuditAction
from store.errors import NotSaved, StoreError
from store.io import shorthand
from store.io.formats import CSV, SHORTHAND, WRITTEN, find_format
from store.io.meaning import COLUMNS
from store.maintenance import new_file
from store.store import Store

STDOUT = Path("-")


def export_file(store: Store, assistant_id: str, path: Path, format_name: str) -> int:
    """Write a new file, or standard output for “-”; returns how many rows. Raises NotFound, Conflict, NotSaved."""
    format = find_format(format_name)
    if (write := format.write) is None:
        raise StoreError(f"{format_name} is only imported. Choose one of {', '.join(WRITTEN)}.")
    assistant, prompts = store.assistants.get(assistant_id), store.prompts.all(assistant_id)

    def rows() -> Iterator[Any]:
        if format is SHORTHAND:
            yield shorthand.first_row(assistant, prompts)
        for conversation in store.transfer.conversations(assistant_id):
            yield from write(conversation)

    about = {"file": path.name, "format": format_name}
    audited = store.audit.audited(AuditAction.EXPORTED, assistant_id, about)
    with audited as detail, _new_file(path) as file:
        count = _write_table(file, rows()) if format is CSV else _write_json(file, rows(), path.suffix)
        detail["rows"] = count = count - (format is SHORTHAND)
    return count


def _write_json(file: BinaryIO, rows: Iterable[Any], suffix: str) -> int:
    count = 0
    start, between, end = (b"[\n", b",\n", b"\n]\n") if suffix == ".json" else (b"", b"\n", b"\n")
    file.write(start)
    for count, row in enumerate(rows, start=1):
        file.write((between if count > 1 else b"") + msgspec.json.encode(row))
    file.write(end if start or count else b"")
    return count


def _write_table(file: BinaryIO, rows: Iterable[list[str]]) -> int:
    count = 0
    # By the mark of “utf-8-sig” a spreadsheet knows that the file is UTF-8. Every cell is in quotes, or one could end
    # early where a spreadsheet takes another sign for the delimiter.
    writer = csv.writer(codecs.getwriter("utf-8-sig")(file), quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for cells in rows:
        writer.writerow(cells)
        count += 1
    return count


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
