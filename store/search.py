"""Searches the full text of messages, and what raters and reviewers wrote about them.

Triggers of the schema keep the FTS5 indexes.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from store.connection import Transaction
from store.decisions import IS_EFFECTIVE
from store.ratings import IS_LATEST
from store.records import Role
from store.repository import Repository


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


# Around each word that was found. Unicode assigns these two to nothing, so hardly any text has them.
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
_MARKED = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}")
_SNIPPET_WORDS = 24


def _snippet(index: str, column: int, name: str) -> str:
    return f"snippet({index}, {column}, '{_OPEN}', '{_CLOSE}', '…', {_SNIPPET_WORDS}) AS {name}"


def _query(index: str, columns: str, joins: str, condition: str = "TRUE") -> str:
    """In the order of writing, in which the index has them: the first 50 of 700,000 cost as much as of 50."""
    return f"""
        SELECT m.id, m.conversation_id, m.role, {columns}
        FROM {index} {joins} CROSS JOIN conversations c ON c.id = m.conversation_id
        WHERE {index} MATCH ? AND c.assistant_id = ? AND c.owner = coalesce(?, c.owner) AND {condition}
        ORDER BY {index}.rowid DESC LIMIT ?"""


IN_MESSAGES = _query(
    "message_words",
    f"m.created_at, {_snippet('message_words', 0, 'snippet')}",
    "CROSS JOIN messages m ON m.seq = message_words.rowid",
)
IN_RATINGS = _query(
    "rating_words",
    f"r.created_at, {_snippet('rating_words', 0, 'commented')}, {_snippet('rating_words', 1, 'corrected')}",
    "CROSS JOIN ratings r ON r.seq = rating_words.rowid CROSS JOIN messages m ON m.id = r.message_id",
    IS_LATEST,
)
IN_DECISIONS = _query(
    "decision_words",
    f"d.created_at, {_snippet('decision_words', 0, 'corrected')}",
    "CROSS JOIN decisions d ON d.seq = decision_words.rowid CROSS JOIN messages m ON m.id = d.message_id",
    IS_EFFECTIVE,
)


class FoundIn(StrEnum):
    TEXT = "text"  # of the question or the answer
    CORRECTION = "correction"  # of a rater or a reviewer
    COMMENT = "comment"


@dataclass(frozen=True)
class Found:
    """A message, and where the words are: about 24 words of that text, `…` where some are left out.

    `at` is when that text was written (UTC seconds). `marked` are the places of the words in `snippet`, as
    (first character, character after the last).
    """

    message_id: str
    conversation_id: str
    role: Role
    found_in: FoundIn
    at: float
    snippet: str
    marked: tuple[tuple[int, int], ...]


class Search(Repository):
    def find(self, assistant_id: str, text: str, limit: int = 50, owner: str | None = None) -> list[Found]:
        """Return messages in which, or in one latest rating or decision about which, all words of `text` occur.

        `text` is what a person types, in any case, with or without accents; nothing in it is syntax, and no text
        raises. The last word may be the beginning of one. At most `limit` messages, each once, those written last
        first; `owner` keeps to the conversations of one person.
        """
        query = query_of(text)
        if query is None or limit < 1:
            return []
        values = [query, assistant_id, owner, limit]
        with self._file.reading():  # all three see one state
            found = self._all(_in_decision, IN_DECISIONS, values)
            found += self._all(_in_rating, IN_RATINGS, values)
            found += self._all(_in_message, IN_MESSAGES, values)
        found.sort(key=lambda one: one.at, reverse=True)
        newest: dict[str, Found] = {}
        for one in found:
            newest.setdefault(one.message_id, one)
        return list(newest.values())[:limit]


def _in_message(row: sqlite3.Row) -> Found:
    return _found(row, FoundIn.TEXT, row["snippet"])


def _in_rating(row: sqlite3.Row) -> Found:
    if row["corrected"] is not None and _OPEN in row["corrected"]:
        return _found(row, FoundIn.CORRECTION, row["corrected"])
    return _found(row, FoundIn.COMMENT, row["commented"])


def _in_decision(row: sqlite3.Row) -> Found:
    return _found(row, FoundIn.CORRECTION, row["corrected"])


def _found(row: sqlite3.Row, where: FoundIn, marked: str) -> Found:
    snippet, places, end = "", [], 0
    for match in _MARKED.finditer(marked):
        snippet += marked[end : match.start()]
        places.append((len(snippet), len(snippet) + len(match[1])))
        snippet += match[1]
        end = match.end()
    return Found(
        message_id=row["id"],
        conversation_id=row["conversation_id"],
        role=Role(row["role"]),
        found_in=where,
        at=row["created_at"],
        snippet=snippet + marked[end:],
        marked=tuple(places),
    )


INDEXES = ("message_words", "rating_words", "decision_words", "title_words")


def purge_deleted_words(transaction: Transaction) -> None:
    """Write the indexes anew without what is deleted; `secure_delete` overwrites the pages that they leave."""
    for index in INDEXES:
        transaction.execute(f"INSERT INTO {index} ({index}) VALUES ('optimize')")


def stale_indexes(transaction: Transaction) -> list[str]:
    """Return a problem for each index that does not fit its texts. Takes the write lock."""
    problems = []
    for index in INDEXES:
        try:  # the 1 compares with the texts, too, also in newer versions of SQLite
            transaction.execute(f"INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_CORRUPT_VTAB:
                raise
            problems.append(f"the search index {index} does not fit the texts, so searches can miss some")
    return problems
