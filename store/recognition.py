"""The beginning of a file → which format it is in, or what else it is and what to do about that.

In: a path. Out: a `Recognised`, or a StoreError in words. Place in the flow: before the first row is read, so that a
wrong file is named at once rather than refused line by line. Does not know the store.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from io import BytesIO
from itertools import islice
from pathlib import Path

import msgspec

from store.errors import BadRow, StoreError
from store.formats import JSON_FORMATS, Format, table
from store.json_rows import MAX_ROW, Row, items, lines

_LOOKED_AT = 20  # rows: the first ones may be broken
_BOM = b"\xef\xbb\xbf"
_DELIMITERS = ",;\t|"
_OTHER_FILES = {
    b"\xff\xfe": "is UTF-16 text. Save it as UTF-8",
    b"\xfe\xff": "is UTF-16 text. Save it as UTF-8",
    b"\x1f\x8b": "is compressed. Unpack it with gunzip",
    b"PK\x03\x04": "is a zip archive or an Excel file. Unpack it, or save the table as CSV (UTF-8)",
    b"SQLite format 3\x00": "is a SQLite file. Export what is in it first",
    b"PAR1": "is a Parquet file. Write it as JSONL, for instance with the library datasets",
    b"%PDF": "is a PDF",
}


class Container(Enum):
    """How rows follow each other in the file."""

    LINES = "lines"
    LIST = "one JSON list"
    TABLE = "a table"


@dataclass(frozen=True)
class Recognised:
    """`format` is None for a table. The rows begin after `start` bytes."""

    format: Format | None
    container: Container
    start: int
    delimiter: str = ","

    @property
    def name(self) -> str:
        return self.format.name if self.format else table.NAME


def names() -> tuple[str, ...]:
    """What a format can be called."""
    return (*(format.name for format in JSON_FORMATS), table.NAME)


def recognise(path: Path, wanted: str | None = None) -> Recognised:
    """Raises StoreError when nothing can be taken in from the file, or not as the format that is wanted."""
    if wanted is not None and wanted not in names():
        raise StoreError(f"There is no format {wanted!r}. Choose one of {', '.join(names())}.")
    beginning = _beginning(path)
    start = len(_BOM) if beginning.startswith(_BOM) else 0
    text = beginning[start:]
    if not text.strip():
        raise StoreError(f"{path} is empty. There is nothing to import.")
    container = Container.LIST if text.lstrip()[:1] == b"[" else Container.LINES
    found, delimiter = _json_format(text, container), ","
    if found is None and (sign := _delimiter(text)):
        container, delimiter = Container.TABLE, sign
    elif found is None:
        # Where the first rows say nothing, they are left to be refused one by one, as the format that is wanted.
        found = next((format for format in JSON_FORMATS if format.name == wanted), None)
        if found is None:
            raise StoreError(
                f"{path} is in none of the formats that can be imported ({', '.join(names())}). {_hint(text)}"
            )
    recognised = Recognised(found, container, start, delimiter)
    if wanted not in (None, recognised.name):
        raise StoreError(
            f"{path} looks like {recognised.name}, not like {wanted}. Leave --format away, or choose another file."
        )
    return recognised


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            beginning = file.read(MAX_ROW)
    except OSError as error:
        raise StoreError(f"Cannot read {path}: {error.strerror}. Give a file that can be read.") from error
    for mark, what in _OTHER_FILES.items():
        if beginning.startswith(mark):
            raise StoreError(f"{path} {what}, and import that.")
    if beginning[:200].count(b"\x00") * 3 > len(beginning[:200]):
        raise StoreError(f"{path} is UTF-16 text or no text at all. Save it as UTF-8, and import that.")
    return beginning


def _json_format(text: bytes, container: Container) -> Format | None:
    rows = items(BytesIO(text)) if container is Container.LIST else lines(BytesIO(text))
    for data in islice(_complete(rows), _LOOKED_AT):
        try:
            row = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        for format in JSON_FORMATS:
            if isinstance(row, dict) and format.recognises(row):
                return format
    return None


def _complete(rows: Iterator[Row]) -> Iterator[bytes]:
    try:
        yield from (row.data for row in rows if row.data)
    except BadRow:  # the beginning ends in the middle of a row
        return


def _delimiter(text: bytes) -> str | None:
    header = text.split(b"\n", 1)[0].decode("utf-8", "replace").rstrip("\r")
    for delimiter in _DELIMITERS:
        try:
            cells = next(csv.reader([header], delimiter=delimiter), [])
        except csv.Error:
            return None
        if table.columns_of(cells):
            return delimiter
    return None


def _hint(text: bytes) -> str:
    if text.lstrip()[:1] == b"[":
        return f"It is a JSON list whose first {_LOOKED_AT} items are of no format that is known."
    if text.lstrip()[:1] == b"{":
        return "It is JSON. Put every conversation on a line of its own (jq -c '.[]' does that), with its “messages”."
    return "A table needs a header with the columns question and answer."
