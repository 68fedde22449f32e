"""The base of all repositories: the file, the clock, new ids, and how rows become frozen dataclasses."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from enum import Enum
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from store.connection import DataFile

T = TypeVar("T")
Convert = Callable[[Any], Any]


def mapper(record: type[T], given: Collection[str] = (), **converts: Convert) -> Callable[..., T]:
    """Return a function from a row to a `record`, whose fields are columns of the same names.

    Fields without a column are given to that function by name. Enums and booleans are made from their types, and NULL
    stays None; `converts` gives a field's own conversion.
    """
    hints = get_type_hints(record)
    names = [field.name for field in fields(record) if field.name not in given]  # type: ignore[arg-type]
    columns = [(name, converts.get(name) or _conversion(hints[name])) for name in names]

    def map_row(row: sqlite3.Row, **others: Any) -> T:
        values = []
        for name, convert in columns:
            value = row[name]
            values.append(value if convert is None or value is None else convert(value))
        return record(**dict(zip(names, values, strict=True)), **others) if given else record(*values)

    return map_row


def _conversion(hint: Any) -> Convert | None:
    if get_origin(hint) is UnionType:
        [hint] = [part for part in get_args(hint) if part is not type(None)]
    if isinstance(hint, type) and issubclass(hint, Enum):
        members = {member.value: member for member in hint}
        return members.__getitem__
    return bool if hint is bool else None


Clock = Callable[[], float]  # UTC seconds
NewId = Callable[[], str]
R = TypeVar("R", bound="Repository")


class Repository:
    """Base of all repositories. A method that calls another inside a transaction takes part in it."""

    def __init__(self, file: DataFile, clock: Clock, new_id: NewId) -> None:
        self._file = file
        self._clock = clock
        self._new_id = new_id

    def _other(self, kind: type[R]) -> R:
        """Return another repository on the same file."""
        return kind(self._file, self._clock, self._new_id)

    def _all(self, record: Callable[[sqlite3.Row], T], sql: str, values: Sequence[Any] = ()) -> list[T]:
        return [record(row) for row in self._rows(sql, values)]

    def _first(self, record: Callable[[sqlite3.Row], T], sql: str, values: Sequence[Any]) -> T | None:
        rows = self._rows(sql, values)
        return record(rows[0]) if rows else None

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        with self._file.reading() as transaction:
            return transaction.rows(sql, values)

    def _number(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Return the one number that a query gives."""
        return int(self._rows(sql, values)[0][0])

    def _execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement in a transaction of its own and return how many rows it changed."""
        with self._file.writing() as transaction:
            return transaction.execute(sql, values).rowcount

    def _one(self, record: Callable[[sqlite3.Row], T], sql: str, values: Sequence[Any], what: str) -> T:
        """Raises NotFound naming `what`."""
        with self._file.reading() as transaction:
            return record(transaction.one(sql, values, what))
