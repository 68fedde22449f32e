"""Brings an empty or older file to the tables that this version knows.

Tables of the first version are in `schema.sql`. A later change is one more migration here: a small function that never
changes once released and imports no other code of the product.
"""

import time
from importlib.resources import files

from sqlite_utils import Database, Migrations

from store.connection import DataFile
from store.errors import StoreError
from store.maintenance import backup_file
from store.sqlite import sqlite3

_APPLICATION_ID = 0x53484E44  # as in schema.sql

migrations = Migrations("shorthand")


def upgrade(file: DataFile) -> None:
    """Apply what is missing, after a backup beside the file; raise StoreError for a newer file or one that is no store.

    The backup is named after the last change that it has.
    """
    with file.reading():
        is_current = _is_current(file)
    file.use_wal()
    if is_current:
        return
    with file.writing():  # holds the write lock, so two processes cannot both upgrade
        if not _is_current(file):
            db = _database(file)
            if applied := [migration.name for migration in migrations.applied(db)]:
                name = f"{file.path.stem}-{applied[-1]}-{time.time():.0f}.sqlite"
                backup_file(file, file.path.with_name(name))
            migrations.apply(db)


def _database(file: DataFile) -> Database:
    return Database(file.connection(), execute_plugins=False)


def _is_current(file: DataFile) -> bool:
    db = _database(file)
    application_id = db.execute("PRAGMA application_id").fetchone()[0]
    if application_id != _APPLICATION_ID and db.table_names():
        raise StoreError(f"{file.path} is a SQLite file of another program. Choose another data directory.")
    # On an empty database every migration that this code has is pending.
    known = {migration.name for migration in migrations.pending(Database(memory=True, execute_plugins=False))}
    newer = [migration.name for migration in migrations.applied(db) if migration.name not in known]
    if newer:
        raise StoreError(
            f"{file.path} was written by another version of Shorthand (it has {', '.join(newer)}). "
            "Upgrade Shorthand, or open a backup from before."
        )
    return not migrations.pending(db)


@migrations()
def v0_1(db: Database) -> None:
    statement = ""  # one by one: `executescript` would end the transaction
    for line in files("store").joinpath("schema.sql").read_text(encoding="utf-8").splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            db.execute(statement)
            statement = ""


@migrations()
def unrated_sums(db: Database) -> None:
    """For each answer that can be given again, the sum of the vectors of unrated questions that ask for it."""
    db.execute("""
        CREATE TABLE unrated_sums (
            dataset_id INTEGER NOT NULL REFERENCES datasets (id) ON DELETE CASCADE,
            answer TEXT NOT NULL,
            vector_model TEXT NOT NULL,
            vector BLOB NOT NULL,  -- float32
            PRIMARY KEY (dataset_id, answer)
        ) STRICT, WITHOUT ROWID""")
