"""The base of all repositories: the file, the clock and new ids."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from store.connection import DataFile

T = TypeVar("T")
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
        return next(iter(self._all(record, sql, values)), None)

    def _one(self, record: Callable[[sqlite3.Row], T], sql: str, values: Sequence[Any], what: str) -> T:
        """Raises NotFound naming `what`."""
        with self._file.reading() as transaction:
            return record(transaction.one(sql, values, what))

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
