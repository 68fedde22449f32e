"""What every repository of the store shares: the file, the clock and where new ids come from."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from store.connection import DataFile

Clock = Callable[[], float]  # UTC seconds
NewId = Callable[[], str]
T = TypeVar("T")


class Repository:
    """The methods of one noun. A method that calls another inside a transaction takes part in it."""

    def __init__(self, file: DataFile, clock: Clock, new_id: NewId) -> None:
        self._file = file
        self._clock = clock
        self._new_id = new_id

    def _all(self, record: Callable[[sqlite3.Row], T], sql: str, values: Sequence[Any] = ()) -> list[T]:
        with self._file.reading() as transaction:
            return [record(row) for row in transaction.rows(sql, values)]

    def _one(self, record: Callable[[sqlite3.Row], T], sql: str, values: Sequence[Any], what: str) -> T:
        """Raises NotFound naming `what`."""
        with self._file.reading() as transaction:
            return record(transaction.one(sql, values, what))
