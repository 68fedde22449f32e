"""Opens one SQLite file with one connection per thread, runs transactions, and puts errors in words.

Changes go to a write-ahead log first (WAL): one wait for the disk instead of three, and who reads keeps nobody from
writing. FULL sync, because the page says that a rating is saved.
"""

import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from store.columns import column, record_of
from store.errors import Conflict, NotFound, NotSaved, StoreError
from store.sqlite import sqlite3

T = TypeVar("T")
R = TypeVar("R", bound="Repository")

_NOT_SAVED_ADVICE = {
    sqlite3.SQLITE_FULL: "The disk is full. Free some space",
    sqlite3.SQLITE_BUSY: "Another process kept the file locked. Wait for it, or stop it",
    sqlite3.SQLITE_LOCKED: "The file is locked. Wait a moment",
    sqlite3.SQLITE_READONLY: "The file is read-only. Make it and its folder writable",
    sqlite3.SQLITE_CANTOPEN: "The file cannot be opened. Make it and its folder writable",
    sqlite3.SQLITE_PERM: "Access was denied. Make the file and its folder writable",
    sqlite3.SQLITE_IOERR: "The disk reported an error. Check the disk and its free space",
}
_MOST_WAL_BYTES = (
    64 << 20
)  # that are kept of the write-ahead log where a long import or reading has made it longer
# Uneven, so that several who wait do not retry in step.
_RETRY_S = (0.001, 0.005)
# Of at most 14 columns: SQLite takes 32,766 values in a statement.
_ROWS_AT_ONCE = 1000


class Transaction:
    """Runs statements on one consistent state, within a `reading()` or `writing()` block."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._connection.execute(sql, list(map(column, values)))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self._connection.executemany(sql, (list(map(column, row)) for row in rows))

    def insert_rows(self, into: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert many rows of one width; `into` is the statement up to VALUES.

        Hundreds in a statement: after each statement FTS5 puts what it has gathered into its tables, so that one for
        every row took three times as long and left its index in thousands of pieces.
        """
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            chunk = rows[start : start + _ROWS_AT_ONCE]
            marks = ", ".join(["(" + ", ".join("?" * len(chunk[0])) + ")"] * len(chunk))
            values = list(chain.from_iterable(chunk))
            texts = "".join(value for value in values if type(value) is str)
            # Nearly always one look is enough instead of one at each.
            run = self._connection.execute if texts.isascii() and "\x00" not in texts else self.execute
            run(f"{into} VALUES {marks}", values)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        # Always all rows at once: an open cursor would keep the state that it reads, and the log could not be emptied.
        return self.execute(sql, values).fetchall()

    def tuples(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows as plain tuples, for thousands of them: Python's garbage collector leaves those alone."""
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return cursor.execute(sql, list(map(column, values))).fetchall()

    def row(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        return next(iter(self.rows(sql, values)), None)

    def one(self, sql: str, values: Sequence[Any], what: str) -> sqlite3.Row:
        """Return the row, or raise NotFound naming `what`."""
        if (row := self.row(sql, values)) is None:
            raise NotFound(f"There is no {what}.")
        return row

    def insert(self, table: str, **columns: Any) -> int:
        """Insert one row and return its rowid, which an `id` of None becomes. No name comes from people."""
        marks = ", ".join("?" * len(columns))
        sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
        return int(self.execute(sql, list(columns.values())).lastrowid or 0)


class _Connection(sqlite3.Connection):
    """Can be referenced weakly, so that a finished thread's connection goes away by itself."""


class DataFile:
    """The SQLite file. Safe to share between threads and processes; not across a fork."""

    def __init__(self, path: Path, busy_timeout_s: float = 10.0, create: bool = True) -> None:
        self.path = path.absolute()
        self._busy_timeout_s = busy_timeout_s
        self._process = os.getpid()
        self._local = threading.local()
        self._open: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._open_lock = threading.Lock()
        self._closed = False
        self._writer = threading.Lock()
        if self.path.exists():
            return
        if not create:
            raise StoreError(f"There is no store at {self.path}. Check the data directory.")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Conversations are personal: readable by the owner alone. SQLite gives its journal the same mode.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise NotSaved(
                f"Cannot create {self.path}: {error.strerror}. Choose a writable data directory."
            ) from error

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection, opened on first use."""
        if self._closed:
            raise StoreError(f"The store {self.path} is closed. Open a new one.")
        if os.getpid() != self._process:
            raise StoreError(f"{self.path} was opened before a fork. Open a new store in each process.")
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
        return connection

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                # rw, not rwc: a file deleted meanwhile is an error, not a new empty store.
                f"{self.path.as_uri()}?mode=rw",
                uri=True,
                timeout=0,  # see `_waiting`
                isolation_level=None,  # transactions are begun and ended by writing() and reading() alone
                check_same_thread=False,  # close() closes every thread's connection
                factory=_Connection,
            )
            connection.row_factory = sqlite3.Row
            # What people delete is overwritten in the file (secure_delete).
            settings = "foreign_keys = ON", "synchronous = FULL", "secure_delete = ON"
            for setting in (*settings, f"journal_size_limit = {_MOST_WAL_BYTES}"):
                self._waiting(connection, f"PRAGMA {setting}")
        except sqlite3.DatabaseError as error:
            raise self.in_words(error, writing=False) from error
        with self._open_lock:
            self._open.add(connection)
        return connection

    def reading(self) -> AbstractContextManager[Transaction]:
        """Let all queries of a block see one state. Inside a writing() block they see that block's changes."""
        return self._transaction(writing=False)

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """Save all changes of a block or none: NotSaved, safe to try again.

        IMMEDIATE takes the write lock first, so what the block reads cannot change before it writes. The writers of
        this process wait in turn; only for those of others SQLite is asked again and again.
        """
        is_outer = not self.connection().in_transaction
        in_turn = is_outer and self._writer.acquire(timeout=self._busy_timeout_s)
        try:
            with self._transaction(writing=True) as transaction:
                yield transaction
        finally:
            if in_turn:
                self._writer.release()

    @contextmanager
    def _transaction(self, writing: bool) -> Iterator[Transaction]:
        connection = self.connection()
        if connection.in_transaction:  # one repository called another: the outer block ends the transaction
            yield Transaction(connection)
            return
        try:
            if writing:
                self._waiting(connection, "BEGIN IMMEDIATE")
            else:
                connection.execute("BEGIN")
                self._waiting(connection, "PRAGMA schema_version")  # from here on one state is seen
            yield Transaction(connection)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self.in_words(error, writing) from error
        finally:
            if connection.in_transaction:  # SQLite itself may have rolled back, on a full disk for instance
                connection.execute("ROLLBACK")

    def use_wal(self) -> None:
        """Write to a write-ahead log from now on; the file itself says so to all who open it. Raises StoreError."""
        try:
            mode = self._waiting(self.connection(), "PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise self.in_words(error, writing=True) from error
        if mode != "wal":
            raise StoreError(
                f"{self.path} stays in journal mode {mode!r}: a write-ahead log needs a disk of this machine, no "
                "network file system. Choose another data directory."
            )

    def empty_wal(self) -> None:
        """Put all of the write-ahead log into the file and empty it, so that nothing deleted stands there any more.

        Where somebody reads an older state for long, or the disk is full, a later one does it, or the store's end.
        """
        connection = self.connection()
        connection.execute("PRAGMA busy_timeout = 100")
        with suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA busy_timeout = 0")

    def _waiting(self, connection: sqlite3.Connection, statement: str) -> sqlite3.Cursor:
        """Run a statement that takes a lock, and wait for it at most `busy_timeout_s`.

        SQLite has no queue for its locks, and retries only every 0.1 s after a while: one busy writer kept others
        waiting until they gave up.
        """
        give_up_at = time.monotonic() + self._busy_timeout_s
        while True:
            try:
                return connection.execute(statement)
            except sqlite3.OperationalError as error:
                locked = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
                if not locked or time.monotonic() >= give_up_at:
                    raise
            time.sleep(random.uniform(*_RETRY_S))

    def in_words(self, error: sqlite3.Error, writing: bool) -> StoreError:
        """Return the error that says what happened and what to do."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if isinstance(error, sqlite3.IntegrityError):
            return Conflict(f"The change breaks a rule of the store, nothing was saved: {error}.")
        if code in _NOT_SAVED_ADVICE:
            advice = _NOT_SAVED_ADVICE[code]
            if writing:
                return NotSaved(f"Nothing was saved to {self.path}: {error}. {advice} and try again.")
            return StoreError(f"Cannot read {self.path}: {error}. {advice} and try again.")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            advice = "Stop the product and restore a backup"
            return StoreError(f"{self.path} is damaged or no store: {error}. {advice}.")
        return StoreError(f"The store {self.path} failed: {error}.")

    def close(self) -> None:
        """Close every thread's connection; call it when no thread uses the store any more."""
        self._closed = True
        with self._open_lock:
            for connection in list(self._open):
                connection.close()


Clock = Callable[[], float]  # UTC seconds
NewId = Callable[[], str]


class Repository:
    """Base of all repositories. A method that calls another inside a transaction takes part in it."""

    def __init__(self, file: DataFile, clock: Clock, new_id: NewId) -> None:
        self._file = file
        self._clock = clock
        self._new_id = new_id

    def _other(self, kind: type[R]) -> R:
        """Return another repository on the same file."""
        return kind(self._file, self._clock, self._new_id)

    def _all(self, kind: type[T], sql: str, values: Sequence[Any] = ()) -> list[T]:
        return [record_of(kind, row) for row in self._rows(sql, values)]

    def _first(self, kind: type[T], sql: str, values: Sequence[Any]) -> T | None:
        return next(iter(self._all(kind, sql, values)), None)

    def _one(self, kind: type[T], sql: str, values: Sequence[Any], what: str) -> T:
        """Raises NotFound naming `what`."""
        with self._file.reading() as transaction:
            return record_of(kind, transaction.one(sql, values, what))

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
