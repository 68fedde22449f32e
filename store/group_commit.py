"""Saves in one transaction what many threads want to save at the same moment, with one wait for the disk.

Databases call it a group commit. A hundred questions that were asked at once waited for a hundred commits.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from store.connection import DataFile, Transaction
from store.sqlite import sqlite3

T = TypeVar("T")


@dataclass(frozen=True)
class _Write:
    run: Callable[[], Any]
    context: Context = field(default_factory=copy_context)  # who acts is a context variable
    result: Future[Any] = field(default_factory=Future)


class GroupCommit:
    """The first of several threads writes for all of them."""

    def __init__(self, file: DataFile) -> None:
        self._file = file
        self._queued: deque[_Write] = deque()
        self._turn = threading.Lock()

    def run(self, write: Callable[[], T]) -> T:
        """Return what `write` does once that is saved; where it raises, nothing of it is, and all of the others.

        Raises NotSaved where the transaction of all of them cannot be saved.
        """
        if self._file.connection().in_transaction:  # a part of what the caller saves as a whole
            return write()
        mine = _Write(write)
        self._queued.append(mine)
        with self._turn:
            if not mine.result.done():
                self._commit()
        found: T = mine.result.result()
        return found

    def _commit(self) -> None:
        batch = list[_Write]()
        try:
            with self._file.writing() as transaction:
                batch = self._all_queued()  # not before: more come while this waits for the lock
                tells = [self._try(one, transaction) for one in batch]
        except BaseException as error:
            for one in batch or self._all_queued():
                one.result.set_exception(error)
            return
        for tell in tells:
            tell()

    def _all_queued(self) -> list[_Write]:
        return [self._queued.popleft() for _ in range(len(self._queued))]

    def _try(self, one: _Write, transaction: Transaction) -> Callable[[], None]:
        """Return what tells its thread the end, for after the commit; what it did is undone where it raises.

        Raises where SQLite has undone the whole transaction.
        """
        transaction.execute("SAVEPOINT one")
        try:
            tell = partial(one.result.set_result, one.context.run(one.run))
        except Exception as error:
            if not self._file.connection().in_transaction:
                raise
            transaction.execute("ROLLBACK TO one")
            in_words = self._file.in_words(error, writing=True) if isinstance(error, sqlite3.Error) else error
            tell = partial(one.result.set_exception, in_words)
        transaction.execute("RELEASE one")
        return tell
