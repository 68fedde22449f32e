"""Reads the rows of a file: lines of JSON, the items of one JSON list, or a table.

A row that cannot be read comes as a BadRow, and the next ones follow. Bytes that are not UTF-8 become half surrogates
(`surrogateescape`), by which their row is found.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import msgspec

from store.columns import storable
from store.errors import BadRow, StoreError, Unstorable
from store.io import table
from store.io.formats import CSV, FORMATS, NAMES, Format, find_format

_MAX_CELL = 16 * 2**20  # characters; a missing quotation mark makes a cell of all that follows
_EXAMINED_ROWS = 20  # for the format: the first ones may be broken
_DELIMITERS = ",;\t|"
_START = 4096  # characters, for whether it is text and a table
# UTF-16, gzip, zip and Excel, SQLite, Parquet, PDF.
_NO_TEXT = (b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b", b"PK\x03\x04", b"SQLite format", b"PAR1", b"%PDF")

_BETWEEN = ", \t\r\n"  # items of a list

Rows = Iterator[tuple[int, Any]]  # the line or the item's number, with what is in the row or a BadRow


@dataclass(frozen=True)
class FileFormat:
    """How a file is to be read. `unit` is what rows are counted by: “line”, or “item” of one JSON list."""

    format: Format
    unit: str
    delimiter: str = ","

    def rows(self, file: TextIO) -> Rows:
        if self.format is CSV:
            return _table_rows(file, self.delimiter)
        return _json_rows(file, self.unit)


def open_text(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def find_file_format(path: Path, wanted: str | None = None) -> FileFormat:
    """Return what was asked for, or what the first rows show. Raises StoreError when nothing can be imported."""
    unit = "item" if _first_character(path) == "[" else "line"
    with open_text(path) as file:
        found = find_format(wanted) if wanted else _json_format(_json_rows(file, unit))
        file.seek(0)
        delimiter = _delimiter(file.readline(_START)) if found in (None, CSV) else None
    if found is None and delimiter is None:
        raise StoreError(
            f"{path} is in none of the formats that can be imported ({', '.join(NAMES)}). Write every conversation as "
            "JSON on a line of its own or in one list, or a table with the columns question and answer."
        )
    return FileFormat(found or CSV, unit, delimiter or ",")


def _first_character(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError as error:
        raise StoreError(f"Cannot read {path}: {error.strerror}. Give a file that can be read.") from error
    if start.startswith(_NO_TEXT) or start.count(b"\x00") * 3 > len(start):
        raise StoreError(
            f"{path} is not text in UTF-8. Save a spreadsheet as CSV (UTF-8), unpack what is compressed, and write "
            "Parquet as JSONL, then import that."
        )
    text = start.decode("utf-8-sig", "replace").strip()
    if not text:
        raise StoreError(f"{path} is empty. There is nothing to import.")
    return text[0]


def _json_format(rows: Rows) -> Format | None:
    for _, row in islice(rows, _EXAMINED_ROWS):
        if isinstance(row, dict):
            for format in FORMATS:
                if format.matches(row):
                    return format
    return None


def _delimiter(header: str) -> str | None:
    for delimiter in _DELIMITERS:
        with suppress(csv.Error):
            if table.find_columns(next(csv.reader([header], delimiter=delimiter), [])):
                return delimiter
    return None


def _json_rows(file: TextIO, unit: str) -> Rows:
    if unit == "item":
        yield from _list_items(file.read())
        return
    for number, line in enumerate(file, start=1):
        try:
            if not line.isspace():
                yield number, _parse(line)
        except (ValueError, RecursionError) as error:
            yield number, _bad_json(error)


def _parse(line: str) -> Any:
    try:
        return msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return json.loads(line)  # slower; takes NaN in what nobody reads, and bytes that are not UTF-8


def _list_items(text: str) -> Rows:
    """Where the list itself is broken, nothing after it can be told apart."""
    decode = json.JSONDecoder().raw_decode
    at, number = _next_item(text, text.index("[") + 1), 1
    try:
        while text[at : at + 1] != "]":
            value, end = decode(text, at)
            yield number, value
            at, number = _next_item(text, end), number + 1
        if text[at + 1 :].strip():
            raise ValueError("the list has ended, but the file goes on")
    except (ValueError, RecursionError) as error:
        yield number, BadRow(f"{_bad_json(error)} What follows was not read.")


def _next_item(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BETWEEN:
        at += 1
    return at


def _bad_json(error: Exception) -> BadRow:
    return BadRow(f"it is not JSON: {getattr(error, 'msg', error)}.")


def _table_rows(file: TextIO, delimiter: str) -> Rows:
    """Return the cells of each row, with the line where it begins; empty ones are left out."""
    csv.field_size_limit(_MAX_CELL)
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
            for cell in cells:
                storable(cell)
        except StopIteration:
            return
        except Unstorable as error:
            yield line, BadRow(str(error))
        except csv.Error as error:
            yield line, BadRow(f"it is no row of a table: {error}. Is a quotation mark missing?")
        else:
            if cells:
                yield line, cells
