"""The SQLite of the wheel pysqlite3, under the name of Python's own module, which has the same functions.

Python links what the system has: before SQLite 3.51.3 several connections that checkpoint a WAL can damage the file.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
else:
    from pysqlite3 import dbapi2 as sqlite3

__all__ = ["sqlite3"]

if sqlite3.sqlite_version_info < (3, 51, 3):
    raise ImportError(
        f"pysqlite3 brings SQLite {sqlite3.sqlite_version}; 3.51.3 or later is needed. Install a wheel: "
        "pip install --only-binary=:all: 'pysqlite3>=0.6.1'"
    )
