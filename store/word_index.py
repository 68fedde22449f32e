"""Keeps nothing deleted in the four word indexes, and checks that they say what the tables say.

FTS5 notes a deletion beside the words and drops both when it merges what it wrote. Its own option 'secure-delete' needs
SQLite 3.42 and makes a file that an older one (Python here links 3.40.1) cannot read, so everything is merged instead.
"""

from __future__ import annotations

import sqlite3

from store.connection import Transaction

INDEXES = ("message_words", "rating_words", "decision_words", "title_words")


def forget_words(transaction: Transaction) -> None:
    """Write the indexes anew without what is deleted; `secure_delete` overwrites the pages that they leave."""
    for index in INDEXES:
        transaction.execute(f"INSERT INTO {index} ({index}) VALUES ('optimize')")


def stale_indexes(transaction: Transaction) -> list[str]:
    """What `python -m store check` says of an index that does not fit its texts. Takes the write lock."""
    problems = []
    for index in INDEXES:
        try:  # the 1 compares with the texts, too, also in newer versions of SQLite
            transaction.execute(f"INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_CORRUPT_VTAB:
                raise
            problems.append(f"the search index {index} does not fit the texts, so searches can miss some")
    return problems
