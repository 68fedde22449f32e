"""Scores SQL queries by whether they give the same rows of an assistant's database.

Queries are written by models and people, so the file is opened read-only, nothing but SELECT is allowed, and steps,
values and rows are bounded.
"""

import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import lru_cache, partial
from pathlib import Path
from urllib.parse import quote

Row = tuple[object, ...]

_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_STEPS = 20_000_000  # SQLite's own instructions: about half a second; a join over 4,000 x 1,000 rows fits
_STEPS_AT_ONCE = 1_000
_SECONDS = 3.0  # for steps that are slow themselves: sorting values of a megabyte fills the disk with temporary files
_ROWS = 10_000
_BYTES = 1_000_000  # the largest value or row; without it, randomblob(1e9) is a gigabyte in one step
_QUERY_BYTES = 20_000


def same_rows(database: str) -> Callable[[str, str], float]:
    """The scorer of one database; raises ValueError when there is none at that path."""
    path = Path(database)
    if not path.is_absolute():
        raise ValueError(f"the path {database!r} must be absolute, such as sql:{path.resolve()}.")
    if path.name == "shorthand.sqlite":  # Python's own SQLite does not see the locks of the store's
        raise ValueError(
            f"{database} is a store of Shorthand. Give the database that the questions are about."
        )
    try:
        with closing(_open(str(path))) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as error:
        reason = "there is no such file" if not path.exists() else str(error)
        raise ValueError(f"the database {database} cannot be read ({reason}). Check the path.") from error
    return partial(score, str(path))


def score(database: str, answer: str, approved: str) -> float:
    """1 when both queries give the same rows; an invalid query gives none.

    The order of rows counts only where the approved query sorts its result.
    """
    wanted = _approved_rows(database, approved)
    found = _rows(database, answer) if wanted is not None else None
    if wanted is None or found is None:
        return 0.0
    return float(list(wanted) == found if is_sorted(approved) else Counter(wanted) == Counter(found))


def is_sorted(query: str) -> bool:
    """Whether the outermost SELECT has an ORDER BY; one in a subquery or a window does not order the result."""
    bare = re.sub(r"--[^\n]*|/\*.*?\*/|'[^']*'|\"[^\"]*\"|`[^`]*`|\[[^\]]*\]", " ", query, flags=re.DOTALL)
    count = 1
    while count:
        bare, count = re.subn(r"\([^()]*\)", " ", bare)
    return re.search(r"\border\s+by\b", bare, re.IGNORECASE) is not None


@lru_cache(maxsize=8192)  # each approved query is compared with the answers of every reference and variant
def _approved_rows(database: str, query: str) -> tuple[Row, ...] | None:
    rows = _rows(database, query)
    return None if rows is None else tuple(rows)


def _rows(database: str, query: str) -> list[Row] | None:
    """The rows of a query; None when it is no query, is not allowed, or goes on too long."""
    try:
        with closing(_open(database)) as connection:
            _restrict(connection)
            cursor = connection.execute(query)
            rows = cursor.fetchmany(_ROWS + 1)
            if cursor.description is None or len(rows) > _ROWS:
                return None
            return [tuple(map(_comparable, row)) for row in rows]
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError):
        return None  # ValueError: text that is no UTF-8, or holds a NUL


def _open(database: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(database)}?mode=ro", uri=True)
    connection.text_factory = lambda raw: raw.decode(errors="replace")
    return connection


def _restrict(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, _QUERY_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 500)  # a pattern is matched in one step
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0)
    left = _STEPS // _STEPS_AT_ONCE
    deadline = time.monotonic() + _SECONDS

    def too_long() -> bool:
        nonlocal left
        left -= 1
        return left < 0 or time.monotonic() > deadline

    connection.set_progress_handler(too_long, _STEPS_AT_ONCE)
    connection.set_authorizer(_authorize)


def _authorize(action: int, one: str | None, two: str | None, *_: str | None) -> int:
    allowed = action in _ALLOWED and (two or "").lower() != "load_extension"
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _comparable(value: object) -> object:
    """Sums of floats differ in their last digits with the order of the rows that were added."""
    return float(f"{value:.10g}") if isinstance(value, float) else value
