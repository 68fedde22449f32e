"""Backs up the file while it is in use, checks it for damage, and counts what is in it."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from store.connection import DataFile, Repository
from store.errors import Conflict, NotSaved, StoreError
from store.search import stale_indexes
from store.sqlite import sqlite3


@contextmanager
def new_file(target: Path, what: str) -> Iterator[Path]:
    """A path beside `target` to write to, renamed when the block has ended well; the block fsyncs it.

    `what` names the file for people. Raises Conflict when `target` exists, NotSaved when it cannot be written; then
    nothing is left of it.
    """
    if target.exists():
        raise Conflict(f"{target} exists already and is not overwritten. Choose another name.")
    if not target.parent.is_dir():
        raise NotSaved(f"There is no folder {target.parent}. Create it or choose another one.")
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        # What people wrote is readable by the owner alone, as the store is.
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        yield partial
        os.rename(partial, target)
    except (OSError, sqlite3.Error) as error:
        raise NotSaved(
            f"{what} {target} was not written: {error}. Check the folder and its free space."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


_COUNTED = (
    *("assistants", "prompts", "deployments", "conversations", "messages", "ratings", "decisions"),
    *("judgement_requests", "splits", "redaction_rules", "datasets", "adapters", "runs", "users", "audit"),
)

# What must never be found: how to say it, with the columns `a` and `b` of each row.
_FORBIDDEN = {
    "{a} points to a missing row of {b}": """
        SELECT "table" || ' row ' || coalesce(rowid, '') AS a, parent AS b FROM pragma_foreign_key_check""",
    "conversation {a!r} has {b} messages but shows none": """
        SELECT c.id AS a, count(*) AS b FROM conversations c JOIN messages m ON m.conversation_id = c.id
        WHERE c.head_id IS NULL GROUP BY c.id""",
    "message {a!r} was not written after its parent {b!r}": """
        SELECT m.id AS a, p.id AS b FROM messages m JOIN messages p ON p.id = m.parent_id
        WHERE p.seq >= m.seq""",
    "{b} of message {a!r}, which is no answer": """
        SELECT m.id AS a, about.kind AS b FROM messages m JOIN (
            SELECT message_id, 'rating' AS kind FROM ratings UNION ALL SELECT message_id, 'decision' FROM decisions
            UNION ALL SELECT message_id, 'judgement request' FROM judgement_requests
        ) about ON about.message_id = m.id WHERE m.role <> 'assistant'""",
    "deployment {a} names adapter {b!r}, of which there is no record": """
        SELECT id AS a, adapter AS b FROM deployments
        WHERE adapter IS NOT NULL AND adapter NOT IN (SELECT name FROM adapters)""",
}


class Maintenance(Repository):
    def check(self) -> list[str]:
        """Return every problem found, in words; an empty list is a sound store.

        A copy is read, for which there has to be room in the store's folder: a check of a large file takes minutes,
        in which nobody could save anything. Raises NotSaved.
        """
        try:
            with TemporaryDirectory(prefix=".check-", dir=self._file.path.parent) as folder:
                path = Path(folder) / "copy"
                path.touch(0o600)
                copy_file(self._file.path, path)
                with closing(DataFile(path)) as copy, copy.writing() as transaction:
                    lines = [row[0] for row in transaction.rows("PRAGMA integrity_check")]
                    problems = [f"damaged file: {line}" for line in lines if line != "ok"]
                    for words, query in _FORBIDDEN.items():
                        problems += [words.format(a=row["a"], b=row["b"]) for row in transaction.rows(query)]
                    return problems + stale_indexes(transaction)
        except (OSError, sqlite3.Error) as error:
            raise NotSaved(
                f"No copy of {self._file.path} to check could be made: {error}. Free as much space as it has."
            ) from error

    def ping(self) -> None:
        """Raises StoreError where the file cannot be read."""
        self._number("PRAGMA schema_version")

    def stats(self) -> dict[str, int]:
        """Return how many records of each kind, and the size of the file in bytes."""
        counts = {table: self._number(f"SELECT count(*) FROM {table}") for table in _COUNTED}
        return {**counts, "bytes": self._file.path.stat().st_size}


def backup_file(file: DataFile, target: Path) -> Path:
    """Copy the file to `target`, consistent although others write; returns the absolute target.

    The copy gets its name only when it is complete, checked and on the disk. Raises Conflict when `target`
    exists, NotSaved when it cannot be written. An older file is copied as it is, without an upgrade.
    """
    target = target.absolute()
    with new_file(target, "The backup") as partial:
        copy_file(file.path, partial)
        refuse_damaged(partial, file.path)
    return target


def refuse_damaged(copy: Path, source: Path) -> None:
    """Raises StoreError where the copy is damaged, since its source is."""
    with closing(sqlite3.connect(copy)) as connection:
        found = connection.execute("PRAGMA quick_check").fetchone()[0]
    if found != "ok":
        raise StoreError(f"{source} is damaged ({found}), so it was not copied. Restore an older backup.")


def copy_file(source: Path, target: Path) -> None:
    """Copy a store, with what is still in its log, as it is at one moment, while others write; on the disk then.

    Raises sqlite3.Error.
    """
    # A connection of its own: this thread's may hold the write lock.
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as original,
        closing(sqlite3.connect(target)) as copy,
    ):
        original.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # all of it in one file
