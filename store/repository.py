"""What every repository of the store shares: the file, the clock and where new ids come from."""

from __future__ import annotations

from collections.abc import Callable

from store.connection import DataFile

Clock = Callable[[], float]  # UTC seconds
NewId = Callable[[], str]


class Repository:
    """The methods of one noun. A method that calls another inside a transaction takes part in it."""

    def __init__(self, file: DataFile, clock: Clock, new_id: NewId) -> None:
        self._file = file
        self._clock = clock
        self._new_id = new_id
