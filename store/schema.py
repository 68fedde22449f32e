"""Brings an empty or older file to the tables that this version knows.

Tables of the first version are in `schema.sql`. A later change is one more migration here: a small function that never
changes once released and imports no other code of the product.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib.resources import files

from sqlite_utils import Database, Migrations

from store.connection import DataFile
from store.errors import StoreError

_APPLICATION_ID = 0x53484E44  # as in schema.sql

migrations = Migrations("shorthand")


def upgrade(file: DataFile) -> None:
    """Apply what is missing; raise StoreError for a newer file or one that is no store."""
    with file.reading():
        if _is_current(file):
            return
    with file.writing():  # holds the write lock, so two processes cannot both upgrade
        if not _is_current(file):
            migrations.apply(_database(file))


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
def v0_1_0(db: Database) -> None:
    for statement in _statements(files("store").joinpath("schema.sql").read_text(encoding="utf-8")):
        db.execute(statement)


@migrations()
def v0_1_0_how_answers_ended(db: Database) -> None:
    """`finish_reason` is the server's or the file's word; `left_out_turns` did not fit into the request."""
    db.execute("ALTER TABLE messages ADD COLUMN finish_reason TEXT")
    db.execute("ALTER TABLE messages ADD COLUMN left_out_turns INTEGER")


@migrations()
def v0_1_0_automatic_retrains(db: Database) -> None:
    """Whether an assistant is retrained without being asked, and the next such run: when it starts, and why."""
    db.execute(
        "CREATE TABLE automatic_retrains (assistant_id TEXT PRIMARY KEY REFERENCES assistants (id), "
        "allowed INTEGER NOT NULL DEFAULT 1 CHECK (allowed IN (0, 1)), starts_at REAL, "
        "reason TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID"
    )


@migrations()
def v0_1_0_demonstrations(db: Database) -> None:
    """Approved answers that may be put before a question, personal data replaced; a changed one gets a new `seq`.

    `vector` is float32, of the question by that model; `demonstrations` are how many a deployment sends, and as a JSON
    list those that were sent with a message.
    """
    db.execute(
        "CREATE TABLE demonstrations (seq INTEGER PRIMARY KEY AUTOINCREMENT, "
        "assistant_id TEXT NOT NULL REFERENCES assistants (id), "
        "message_id TEXT NOT NULL UNIQUE REFERENCES messages (id) ON DELETE CASCADE, "
        "question TEXT NOT NULL, answer TEXT NOT NULL, added_at REAL NOT NULL, vector_model TEXT, vector BLOB, "
        "CHECK ((vector IS NULL) = (vector_model IS NULL))) STRICT"
    )
    # With the model, so that what has changed is seen without reading the vectors.
    db.execute("CREATE INDEX demonstrations_of_assistant ON demonstrations (assistant_id, seq, vector_model)")
    db.execute("ALTER TABLE deployments ADD COLUMN demonstrations INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE messages ADD COLUMN demonstration_tokens INTEGER DEFAULT 0")
    db.execute("ALTER TABLE messages ADD COLUMN demonstrations TEXT DEFAULT '[]'")


@migrations()
def v0_1_0_no_teacher(db: Database) -> None:
    """Unrated answers are learned as they are, whoever gave them."""
    db.execute("ALTER TABLE dataset_examples DROP COLUMN from_teacher")


@migrations()
def v0_1_0_api(db: Database) -> None:
    """Keys of apps; assistants that are a prompt which came through the API and which nobody has adopted yet; of a
    question from the API, what says which turns it ends.
    """
    db.execute(
        "CREATE TABLE api_keys (name TEXT PRIMARY KEY COLLATE NOCASE CHECK (name <> ''), "
        "key_hash TEXT NOT NULL UNIQUE CHECK (length(key_hash) = 64), scopes TEXT NOT NULL, "
        "per_minute INTEGER NOT NULL CHECK (per_minute > 0), created_at REAL NOT NULL, revoked_at REAL) STRICT"
    )
    db.execute("ALTER TABLE assistants ADD COLUMN found INTEGER NOT NULL DEFAULT 0 CHECK (found IN (0, 1))")
    db.execute("ALTER TABLE messages ADD COLUMN turns_hash TEXT")
    # Of the fine-tuning routes.
    db.execute(
        "CREATE TABLE api_files (id TEXT PRIMARY KEY, owner TEXT NOT NULL, name TEXT NOT NULL, "
        "created_at REAL NOT NULL, content BLOB NOT NULL) STRICT"
    )
    db.execute(
        "CREATE TABLE api_jobs (id TEXT PRIMARY KEY, owner TEXT NOT NULL, assistant_id TEXT NOT NULL "
        "REFERENCES assistants (id), file_id TEXT NOT NULL, model TEXT NOT NULL, imported TEXT NOT NULL, "
        "created_at REAL NOT NULL, cancelled_at REAL) STRICT"
    )
    db.execute("CREATE INDEX messages_of_turns ON messages (turns_hash) WHERE turns_hash IS NOT NULL")


def _statements(script: str) -> Iterator[str]:
    """One by one, since sqlite3's own `executescript` would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
