"""Reads the rows of a file: lines of JSON, one JSON list or object, or a table.

A row that cannot be read comes as a BadRow, and the next ones follow. Bytes that are not UTF-8 become half surrogates
(`surrogateescape`), by which their row is found. Of lines and tables memory is bounded by the largest row.
"""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from store.columns import storable
from store.errors import BadRow, StoreError, Unstorable
from store.io.meaning import is_table, plain
from store.io.records import ImportOptions
from store.io.table import unescape_formula

_MAX_CELL = 16 * 2**20  # characters; a missing quotation mark makes a cell of all that follows
_DELIMITERS = ",;\t|"
_START = 4096  # bytes, for what kind of file it is
_HEADER_LINES = 10  # above it spreadsheets write “sep=;”, a title and empty lines
# Gzip, zip and Excel, SQLite, Parquet, PDF.
_NO_TEXT = (b"\x1f\x8b", b"PK\x03\x04", b"SQLite format", b"PAR1", b"%PDF")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")

Rows = Iterator[tuple[int, Any]]  # the line or the item's number, with what is in the row or a BadRow


@dataclass(frozen=True)
class Container:
    """How rows lie in a file. `unit` is what they are counted by: “line”, or “item” of one JSON list or object."""

    path: Path
    encoding: str
    unit: str = "line"
    delimiter: str = ""  # of a table
    header_line: int = 0

    @contextmanager
    def open(self) -> Iterator[TextIO]:
        try:
            newline = "" if self.delimiter else None  # cells may have line ends of their own
            with self.path.open(encoding=self.encoding, errors="surrogateescape", newline=newline) as file:
                yield file
        except (LookupError, UnicodeError) as error:
            raise StoreError(
                f"{self.path} cannot be read as {self.encoding}: {error}. Give another --encoding."
            ) from error

    def rows(self) -> Rows:
        with self.open() as file:
            if self.delimiter:
                yield from _table_rows(file, self.delimiter, self.header_line)
            else:
                yield from _json_lines(file) if self.unit == "line" else self._items(file)

    def _items(self, file: TextIO) -> Rows:
        try:
            found = _DECODER.decode(file.read())
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{self.path} is not JSON: {error}. Write it again, or a row a line.") from error
        yield from enumerate(found if isinstance(found, list) else [found], start=1)


def find_container(path: Path, options: ImportOptions, is_csv: bool | None) -> Container:
    """`is_csv`: what was asked for, None to find out. Raises StoreError for what is no text, and no such table."""
    start = _start(path)
    encoding = options.encoding or ("utf-16" if start.startswith(_UTF_16) else "utf-8-sig")
    with Container(path, encoding).open() as file:
        head = file.read(_START)
    first = head.lstrip("\ufeff \t\r\n")[:1]
    if not first:
        raise StoreError(f"{path} is empty. There is nothing to import.")
    if is_csv or (is_csv is None and first not in "[{"):
        lines = head.splitlines()
        for number, line in enumerate(lines[:_HEADER_LINES], start=1):
            for delimiter in _DELIMITERS:
                with suppress(csv.Error, StopIteration):
                    if is_table(next(csv.reader([line], delimiter=delimiter, strict=True)), options.columns):
                        return Container(path, encoding, delimiter=delimiter, header_line=number)
        if is_csv or not any(line.lstrip()[:1] in ("{", "[") for line in lines):
            raise StoreError(
                f"{path} needs a header with the columns question and answer, or JSON. It begins with: "
                f"{head.strip()[:200]!r}. If its columns have other names, say --column question=NAME --column "
                "answer=NAME."
            )
    whole = Container(path, encoding, "item")
    return whole if first == "[" or _is_one_object(whole) else Container(path, encoding)


def _is_one_object(container: Container) -> bool:
    """Whether a file that does not begin with a whole line of JSON is one object, with line ends in it."""
    with container.open() as file:
        if any(isinstance(row, dict) for _, row in islice(_json_lines(file), 1)):
            return False
    with suppress(StoreError):
        return any(isinstance(row, dict) for _, row in container.rows())
    return False


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(_START)
    except OSError as error:
        raise StoreError(f"Cannot read {path}: {error.strerror}. Give a file that can be read.") from error
    is_utf_16 = start.startswith(_UTF_16)
    if start.startswith(_NO_TEXT) or (start.count(b"\x00") * 3 > len(start) and not is_utf_16):
        raise StoreError(
            f"{path} is not text in UTF-8. Save a spreadsheet as CSV (UTF-8), unpack what is compressed, and write "
            "Parquet as JSONL, then import that."
        )
    return start


# Python refuses whole numbers of thousands of digits, which no field that is read has.
_DECODER = json.JSONDecoder(parse_int=lambda digits: int(digits) if len(digits) < 400 else float(digits))


def _json_lines(file: TextIO) -> Rows:
    for number, line in enumerate(file, start=1):
        value: Any
        try:
            value = _DECODER.decode(line)
            if not isinstance(value, dict):
                raise ValueError("it is no object")
        except (ValueError, RecursionError) as error:
            if line.isspace():
                continue
            value = BadRow(f"it is not JSON: {getattr(error, 'msg', error)}.")
        yield number, value


def _table_rows(file: TextIO, delimiter: str, header_line: int) -> Rows:
    """Return the cells of each row by plain names, with the line where it begins; empty ones are left out."""
    csv.field_size_limit(_MAX_CELL)
    for _ in islice(file, header_line - 1):
        pass
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    names: list[str] = []
    while True:
        line = header_line + reader.line_num
        try:
            cells = next(reader)
            if not names:
                names = [plain(unescape_formula(cell)) for cell in cells]
            elif any(cells[len(names) :]):
                raise csv.Error(f"it has {len(cells)} cells under {len(names)} names")
            elif cells := _checked(cells):
                yield line, dict(zip(names, cells, strict=False))
        except StopIteration:
            return
        except Unstorable as error:
            yield line, BadRow(str(error))
        except csv.Error as error:
            yield line, BadRow(f"it is no row of a table: {error}. Is a quotation mark missing?")


def _checked(cells: list[str]) -> list[str]:
    """The texts of cells, none of a row without any. Raises Unstorable."""
    text = "".join(cells)  # of all together it is quick to see that most rows need nothing
    if not text.isascii() or "\x00" in text:
        for cell in cells:
            storable(cell)
    if not text or text.isspace():
        return []
    return [unescape_formula(cell) for cell in cells] if "'" in text else cells
