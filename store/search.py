"""Searches messages, and what raters and reviewers wrote about them, by indexes that triggers of the schema keep."""

import re
from contextlib import suppress

from store.connection import DataFile, Repository, Transaction
from store.decisions import IS_EFFECTIVE
from store.errors import NotSaved
from store.ratings import IS_LATEST
from store.sqlite import sqlite3


def words_alone(text: str) -> str:
    """Return the words without case, spaces and punctuation, for comparing; a text of signs alone stays as it is."""
    return " ".join(re.findall(r"\w+|[^\w\s.,;:!?'\"()]", text.casefold())) or text


# More words than anybody types; a text that was pasted is found by its beginning.
MOST_WORDS = 50
_UNSEARCHABLE = re.compile("[\x00\ud800-\udfff]")  # never in the store, and SQLite takes no such value


def query_of(text: str) -> str | None:
    """Return a query of FTS5 for texts with all words that a person typed, or None where there is no word.

    Words are in quotes, in which nothing is syntax; the last one may be the beginning of a word. “e-mail” is found as
    two words in a row. Of more than `MOST_WORDS` different words the first ones count.
    """
    typed = dict.fromkeys(_UNSEARCHABLE.sub(" ", text).split())
    # Older versions of SQLite take an emoji that they do not know for a letter, and would ask for it.
    words = [word for word in typed if any(character.isalnum() for character in word)][:MOST_WORDS]
    if not words:
        return None
    quoted = ['"' + word.replace('"', '""') + '"' for word in words]
    return " ".join(quoted) + "*"


# In the order of writing, in which an index has its rows: the first 50 of 700,000 cost as much as of 50.
_IN_INDEX = """
    SELECT m.id, {1}.created_at AS at FROM {0}_words CROSS JOIN {0}s {1} ON {1}.seq = {0}_words.rowid {2}
    CROSS JOIN conversations c ON c.id = m.conversation_id
    WHERE {0}_words MATCH ? AND c.assistant_id = ? AND {3} ORDER BY {0}_words.rowid DESC LIMIT ?"""
_ITS_MESSAGE = "CROSS JOIN messages m ON m.id = {}.message_id"
_IN_MESSAGES = _IN_INDEX.format("message", "m", "", "TRUE")
_IN_RATINGS = _IN_INDEX.format("rating", "r", _ITS_MESSAGE.format("r"), IS_LATEST)
_IN_DECISIONS = _IN_INDEX.format("decision", "d", _ITS_MESSAGE.format("d"), IS_EFFECTIVE)


class Search(Repository):
    def find(self, assistant_id: str, text: str, limit: int = 50) -> list[str]:
        """Return ids of messages in which, or in one latest rating or decision about which, all words of `text` occur.

        `text` is what a person types, in any case, with or without accents; nothing in it is syntax, and no text
        raises. The last word may be the beginning of one. Those written last come first.
        """
        if (query := query_of(text)) is None:
            return []
        with self._file.reading() as transaction:  # all three see one state
            walks = (_IN_MESSAGES, _IN_RATINGS, _IN_DECISIONS)
            found = [row for walk in walks for row in transaction.rows(walk, [query, assistant_id, limit])]
        found.sort(key=lambda row: float(row["at"]), reverse=True)
        return list(dict.fromkeys(row["id"] for row in found))[:limit]


_PAGES = 64  # of an index in one step
_INDEXES = ("message_words", "rating_words", "decision_words", "title_words")


def purge_deleted_words(file: DataFile) -> None:
    """Write the indexes anew without what is deleted; `secure_delete` overwrites the pages that they leave, and the
    log is emptied.

    In steps of 20 ms with others' writes between them, where FTS5's 'optimize' kept all waiting for 2 s of a million
    messages. Where a step cannot be saved, on a full disk, the rest goes with the next deletion.
    """
    with suppress(NotSaved):
        for index in _INDEXES:
            pages = -_PAGES  # negative: all segments are to become one
            while _merge(file, index, pages):
                pages = _PAGES
    file.empty_wal()


def _merge(file: DataFile, index: str, pages: int) -> bool:
    """Return whether there is more to do, as FTS5 tells it: by how many rows it has changed."""
    with file.writing() as transaction:
        connection = file.connection()
        before = connection.total_changes
        transaction.execute(f"INSERT INTO {index} ({index}, rank) VALUES ('merge', ?)", [pages])
        return connection.total_changes - before >= 2


def stale_indexes(transaction: Transaction) -> list[str]:
    """Return a problem for each index that does not fit its texts. Takes the write lock."""
    problems = []
    for index in _INDEXES:
        try:  # the 1 compares with the texts, too, also in newer versions of SQLite
            transaction.execute(f"INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
                raise
            problems.append(f"the search index {index} does not fit the texts, so searches can miss some")
    return problems
