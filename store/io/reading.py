"""Reads the rows of a file one at a time, however large it is: lines of JSON, the items of one JSON list, or a table.

A row that cannot be read comes as a BadRow, and the next ones follow. Bytes that are not UTF-8 become half surrogates
(`surrogateescape`), by which their row is found.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, TextIO

import msgspec

from store.columns import storable
from store.errors import BadRow, StoreError, Unstorable
from store.io import table
from store.io.formats import CSV, FORMATS, NAMES, Format, find_format

MAX_ROW = 16 * 2**20  # characters; a row is one conversation, and the longest answers have thousands
_MAX_ITEM = 8 * MAX_ROW  # of an item that has to be read to find its end
_CHUNK = 2**20
_EXAMINED_ROWS = 20  # for the format: the first ones may be broken
_DELIMITERS = ",;\t|"
_START = 4096  # bytes, for what other kind of file it may be
_OTHER_FILES = {
    b"\xff\xfe": "is UTF-16 text. Save it as UTF-8",
    b"\xfe\xff": "is UTF-16 text. Save it as UTF-8",
    b"\x1f\x8b": "is compressed. Unpack it with gunzip",
    b"PK\x03\x04": "is a zip archive or an Excel file. Unpack it, or save the table as CSV (UTF-8)",
    b"SQLite format 3\x00": "is a SQLite file. Export what is in it first",
    b"PAR1": "is a Parquet file. Write it as JSONL, for instance with the library datasets",
    b"%PDF": "is a PDF",
}
_HINTS = {
    "[": f"It is a JSON list whose first {_EXAMINED_ROWS} items are of no format that is known.",
    "{": "It is JSON. Put every conversation on a line of its own (jq -c '.[]' does that), with its “messages”.",
}
_SPACE = re.compile(r"[ \t\r\n]*")

Rows = Iterator[tuple[int, Any]]  # the line or the item's number, with what is in the row or a BadRow


@dataclass(frozen=True)
class FileFormat:
    """How a file is to be read. `unit` is what rows are counted by: “line”, or “item” of one JSON list."""

    format: Format
    unit: str
    delimiter: str = ","

    def rows(self, file: TextIO) -> Rows:
        if self.format is CSV:
            return table_rows(file, self.delimiter)
        return list_items(file) if self.unit == "item" else json_lines(file)


def open_text(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def json_lines(file: TextIO) -> Rows:
    """One row a line; empty lines are left out but counted."""
    for number in count(1):
        try:
            if not (line := _read_line(file)):
                return
            if not line.isspace():
                yield number, _parse(storable(line))
        except (ValueError, RecursionError, BadRow, Unstorable) as error:
            yield number, _bad_json(error)


def _parse(line: str) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return json.loads(line)  # slower; takes NaN in what nobody reads, and says where the JSON is broken


def _read_line(file: TextIO) -> str:
    line = file.readline(MAX_ROW + 1)
    if len(line) <= MAX_ROW:
        return line
    size = len(line)
    while line and not line.endswith(("\n", "\r")):
        line = file.readline(MAX_ROW)
        size += len(line)
    raise _too_large(size)


def _too_large(size: int) -> BadRow:
    return BadRow(
        f"it has {size:,} characters; a row may have {MAX_ROW:,}. Split the conversation or leave it out."
    )


def _bad_json(error: Exception) -> BadRow:
    if isinstance(error, StoreError):
        return BadRow(str(error))
    if isinstance(error, RecursionError):
        return BadRow("it is nested too deeply.")
    if isinstance(error, json.JSONDecodeError):
        return BadRow(f"it is not JSON: {error.msg} at character {error.pos + 1}.")
    return BadRow(f"it is not JSON that can be read: {error}.")


def list_items(file: TextIO) -> Rows:
    """The items of one JSON list. Where the list itself is broken, nothing after it can be told apart."""
    number = 0
    try:
        for number, (text, value) in enumerate(_items(file), start=1):
            try:
                storable(text)
                yield number, value if len(text) <= MAX_ROW else _too_large(len(text))
            except Unstorable as error:
                yield number, BadRow(str(error))
    except (BadRow, RecursionError) as error:
        yield number + 1, BadRow(f"{_bad_json(error)} What follows was not read.")


def _items(file: TextIO) -> Iterator[tuple[str, Any]]:
    """Each item as text and as what it holds. Raises BadRow or RecursionError where the list cannot be read on."""
    decode = json.JSONDecoder().raw_decode
    text = file.read(_CHUNK)
    at = _after_space(text) + 1  # the opening bracket
    is_first = True
    while True:
        start = _after_space(text, at)
        try:
            if is_first and text[start : start + 1] == "]":
                value, end, after = None, start, start
            else:
                value, end = decode(text, start)
                after = _after_space(text, end)
            if after == len(text):
                raise ValueError("the file ends in the middle of the list")
        except ValueError as error:  # broken, or more has to be read
            more = file.read(max(_CHUNK, len(text) - start))
            if not more or len(text) - start > _MAX_ITEM:
                raise BadRow(f"it is not JSON: {getattr(error, 'msg', error)}.") from error
            text, at = text[start:] + more, 0
            continue
        if end > start:
            yield text[start:end], value
        if text[after] != ",":
            break
        at, is_first = after + 1, False
    if text[after] != "]" or text[after + 1 :].strip() or file.read(_CHUNK).strip():
        raise BadRow("the list has ended, but the file goes on.")


def _after_space(text: str, at: int = 0) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def table_rows(file: TextIO, delimiter: str) -> Rows:
    """The cells of each row, with the line where it begins; empty ones are left out."""
    csv.field_size_limit(MAX_ROW)
    read = 0

    def next_line() -> str:
        nonlocal read
        read += 1
        return _read_line(file)

    reader = csv.reader(iter(next_line, ""), delimiter=delimiter, strict=True)
    while True:
        line = read + 1
        try:
            cells = next(reader)
            for cell in cells:
                storable(cell)
        except StopIteration:
            return
        except (BadRow, Unstorable) as error:
            yield line, BadRow(str(error))
        except csv.Error as error:
            yield line, BadRow(f"it is no row of a table: {error}. Is a quotation mark missing?")
        else:
            if cells:
                yield line, cells


def find_file_format(path: Path, wanted: str | None = None) -> FileFormat:
    """What the first rows show. Raises StoreError when nothing can be imported, or not as `wanted`."""
    if wanted is not None:
        find_format(wanted)
    first = _first_character(path)
    unit = "item" if first == "[" else "line"
    with open_text(path) as file:
        found = _json_format(list_items(file) if unit == "item" else json_lines(file))
        file.seek(0)
        delimiter = None if found else _delimiter(file.readline(MAX_ROW))
    if delimiter:
        found, unit = CSV, "line"
    elif found is None and wanted not in (None, CSV.name):
        return FileFormat(find_format(str(wanted)), unit)  # each row is refused by itself
    elif found is None:
        hint = _HINTS.get(first, "A table needs a header with the columns question and answer.")
        raise StoreError(
            f"{path} is in none of the formats that can be imported ({', '.join(NAMES)}). {hint}"
        )
    if wanted not in (None, found.name):
        raise StoreError(
            f"{path} looks like {found.name}, not like {wanted}. Leave --format away, or choose another file."
        )
    return FileFormat(found, unit, delimiter or ",")


def _first_character(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError as error:
        raise StoreError(f"Cannot read {path}: {error.strerror}. Give a file that can be read.") from error
    for mark, what in _OTHER_FILES.items():
        if start.startswith(mark):
            raise StoreError(f"{path} {what}, and import that.")
    if start.count(b"\x00") * 3 > len(start):
        raise StoreError(f"{path} is UTF-16 text or no text at all. Save it as UTF-8, and import that.")
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
        try:
            if table.find_columns(next(csv.reader([header], delimiter=delimiter), [])):
                return delimiter
        except csv.Error:
            return None
    return None
