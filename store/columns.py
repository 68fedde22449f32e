"""Turns values into what SQLite keeps, and rows back into frozen dataclasses."""

import json
import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from operator import itemgetter
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec

from store.errors import StoreError, Unstorable
from store.sqlite import sqlite3

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
        use = "Use text, numbers, lists and dicts"
        raise StoreError(f"Cannot save this value as JSON: {error}. {use}.") from error
    return storable(text.replace("\\u0000", "\x00") if _NUL_IN_JSON.search(text) else text)


def record_of(kind: type[T], row: sqlite3.Row, **given: Any) -> T:
    """Return a `kind` whose fields are columns of the same names, but for those that are `given`.

    Enums, booleans and JSON are converted to the fields' types, and NULL stays None. A field that is a dataclass itself
    is read from the same row; None where its first column is NULL.
    """
    readers = _readers(cast(Hashable, kind))
    return kind(**{name: read(row) for name, read in readers if name not in given}, **given)


def grouped(kind: type[T], rows: Iterable[sqlite3.Row], by: str) -> dict[Any, list[T]]:
    """Return the records of the rows, in their order, by the value of one column."""
    found: dict[Any, list[T]] = {}
    for row in rows:
        found.setdefault(row[by], []).append(record_of(kind, row))
    return found


@cache
def _readers(kind: Any) -> list[tuple[str, Callable[[sqlite3.Row], Any]]]:
    return [(name, _reader(name, hint)) for name, hint in get_type_hints(kind).items()]


def _reader(name: str, hint: Any) -> Callable[[sqlite3.Row], Any]:
    if get_origin(hint) is UnionType:
        [hint] = [part for part in get_args(hint) if part is not type(None)]
    if is_dataclass(hint):
        first = fields(hint)[0].name
        return lambda row: None if row[first] is None else record_of(cast(type, hint), row)
    convert = _conversion(hint)
    if convert is None:
        return itemgetter(name)
    return lambda row: None if row[name] is None else convert(row[name])


def _conversion(hint: Any) -> Callable[[Any], Any] | None:
    if get_origin(hint) in (tuple, dict):
        return lambda text: msgspec.convert(json.loads(text), hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {member.value: member for member in hint}.__getitem__
    return bool if hint is bool else None
