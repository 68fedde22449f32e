"""Creates the tables of a new file, and refuses a file of another program or version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib.resources import files

from store.connection import DataFile, Transaction
from store.errors import StoreError

_APPLICATION_ID, _VERSION = 0x53484E44, 1  # as in schema.sql


def prepare(file: DataFile) -> None:
    """Create what an empty file has not; raises StoreError, and changes nothing, for a file that is not ours."""
    with file.reading() as transaction:
        if not _is_empty(file, transaction):
            return
    with file.writing() as transaction:  # holds the write lock, so that of two processes one creates
        if _is_empty(file, transaction):
            for statement in _statements(files("store").joinpath("schema.sql").read_text(encoding="utf-8")):
                transaction.execute(statement)


def _is_empty(file: DataFile, transaction: Transaction) -> bool:
    application, version, tables = (
        transaction.rows(query)[0][0]
        for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    if application != _APPLICATION_ID and tables:
        raise StoreError(f"{file.path} is a SQLite file of another program. Choose another data directory.")
    if tables and version != _VERSION:
        raise StoreError(
            f"{file.path} was written by another version of Shorthand (its tables are version {version}, these are "
            f"{_VERSION}). Use that version, or open a backup that fits this one."
        )
    return not tables


def _statements(script: str) -> Iterator[str]:
    """One by one, since sqlite3's own `executescript` would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
