"""Turns values into what SQLite keeps, and rows back into frozen dataclasses."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Collection, Iterable
from enum import Enum
from functools import partial
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from store.errors import StoreError, Unstorable

T = TypeVar("T")

# SQLite keeps text after a NUL but its functions and most tools cut it there; UTF-8 has no lone surrogates.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_NUL_IN_JSON = re.compile(r"(?<!\\)(\\\\)*\\u0000")


def storable(text: str) -> str:
    """Return `text` unchanged; raise Unstorable for a NUL or half a surrogate pair."""
    # Nearly all texts are ASCII, which is found in a tenth of the time of the search.
    if text.isascii() and "\x00" not in text:
        return text
    if found := _UNSTORABLE.search(text):
        code = ord(found.group())
        what = f"half a surrogate pair (U+{code:04X})" if code else "a NUL character"
        if 0xDC80 <= code <= 0xDCFF:  # as `surrogateescape` reads bytes that are no text
            what = f"the byte 0x{code - 0xDC00:02x}, which is not UTF-8"
        start = max(0, found.start() - 20)
        raise Unstorable(
            f"Cannot save this text: character {found.start()} is {what}, near "
            f"{text[start : found.start() + 20]!r}. Remove or replace that character and save again."
        )
    return text


def column(value: Any) -> Any:
    """Return the value as SQLite keeps it: lists, tuples and dicts as JSON."""
    if isinstance(value, str):
        return storable(value)
    return to_json(value) if isinstance(value, (list, tuple, dict)) else value


def to_json(value: Any) -> str:
    """Return JSON with sorted keys, so that equal values are equal text.

    NaN and infinity stay as Python's json writes them: a diverged loss is a thing that a run has to record.
    """
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"Cannot save this value as JSON: {error}. Use text, numbers, lists and dicts."
        ) from error
    return storable(text.replace("\\u0000", "\x00") if _NUL_IN_JSON.search(text) else text)


def mapper(record: type[T], given: Collection[str] = ()) -> Callable[..., T]:
    """Return a function from a row to a `record`, whose fields are columns of the same names.

    Enums, booleans and JSON are converted to the fields' types, and NULL stays None. Fields without a column are
    `given` to that function by name.
    """
    hints = get_type_hints(record)
    columns = [(name, _conversion(hint)) for name, hint in hints.items() if name not in given]
    names = [name for name, _ in columns]

    def map_row(row: sqlite3.Row, **others: Any) -> T:
        values = []
        for name, convert in columns:
            value = row[name]
            values.append(value if convert is None or value is None else convert(value))
        return record(**dict(zip(names, values, strict=True)), **others) if given else record(*values)

    return map_row


def grouped(rows: Iterable[sqlite3.Row], by: str, record: Callable[[sqlite3.Row], T]) -> dict[Any, list[T]]:
    """Return the records of the rows, in their order, by the value of one column."""
    found: dict[Any, list[T]] = {}
    for row in rows:
        found.setdefault(row[by], []).append(record(row))
    return found


def _conversion(hint: Any) -> Callable[[Any], Any] | None:
    if get_origin(hint) is UnionType:
        [hint] = [part for part in get_args(hint) if part is not type(None)]
    if get_origin(hint) in (tuple, dict):
        return partial(_from_json, hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        members = {member.value: member for member in hint}
        return members.__getitem__
    return bool if hint is bool else None


def _from_json(kind: Any, text: str) -> Any:
    return msgspec.convert(json.loads(text), kind)
