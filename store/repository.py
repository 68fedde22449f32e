"""What every part of the store shares: the file, the clock and where new ids come from.

In: nothing. Out: the base of the small classes (`Ratings`, `Runs`, ...) whose sum is `Store`.
Knows nothing about tables.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Self

from store.connection import DataFile


class Repository:
    """One noun's methods. Parts share the file and never call each other's private methods."""

    def __init__(self, file: DataFile, clock: Callable[[], float], new_id: Callable[[], str]) -> None:
        self._file = file
        self._clock = clock
        self._new_id = new_id

    def _with_file(self, file: DataFile) -> Self:
        """The same on another view of the file."""
        other = copy.copy(self)
        other._file = file
        return other
