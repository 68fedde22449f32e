"""Turns rows of a table into the frozen dataclass that has the same fields."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import fields
from enum import Enum
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")
Convert = Callable[[Any], Any]


def mapper(record: type[T], **converts: Convert) -> Callable[[sqlite3.Row], T]:
    """A function from a row to a `record`, whose fields are columns of the same names.

    Enums and booleans are made from their types, and NULL stays None; `converts` gives a field's own conversion.
    """
    hints = get_type_hints(record)
    names = [field.name for field in fields(record)]  # type: ignore[arg-type]
    columns = [(name, converts.get(name) or _conversion(hints[name])) for name in names]

    def map_row(row: sqlite3.Row) -> T:
        values = []
        for name, convert in columns:
            value = row[name]
            values.append(value if convert is None or value is None else convert(value))
        return record(*values)

    return map_row


def _conversion(hint: Any) -> Convert | None:
    if get_origin(hint) is UnionType:
        [hint] = [part for part in get_args(hint) if part is not type(None)]
    if isinstance(hint, type) and issubclass(hint, Enum):
        members = {member.value: member for member in hint}
        return members.__getitem__
    return bool if hint is bool else None
