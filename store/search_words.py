"""Turns what a person typed into a search box into a query of SQLite's FTS5 that finds texts with all of the words."""

from __future__ import annotations

import re

# More words than anybody types; a text that was pasted is found by its beginning.
MOST_WORDS = 50
_UNSEARCHABLE = re.compile("[\x00\ud800-\udfff]")  # never in the store, and SQLite takes no such value


def query_of(text: str) -> str | None:
    """Every word in quotes, in which nothing is syntax, the last one as the beginning of a word.

    A word with signs in it, as in “e-mail”, is found as those words in a row. Of more than `MOST_WORDS` different words
    the first ones count; one without a letter or digit does not.
    """
    typed = dict.fromkeys(_UNSEARCHABLE.sub(" ", text).split())
    # Older versions of SQLite take an emoji that they do not know for a letter, and would ask for it.
    words = [word for word in typed if any(character.isalnum() for character in word)][:MOST_WORDS]
    if not words:
        return None
    quoted = ['"' + word.replace('"', '""') + '"' for word in words]
    return " ".join(quoted) + "*"
