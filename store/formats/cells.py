"""Values ⇄ cells of a table that people open in a spreadsheet.

In: texts, times and verdicts. Out: cells that no spreadsheet takes for a formula, and the very same values again; or
BadRow. Pure. Does not know columns.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from store.errors import BadRow
from store.records import Verdict

# What a spreadsheet may run, by OWASP's list: = + - @ tab, carriage return and line feed, and the full-width signs.
# An apostrophe before it makes it text. One more goes before texts that begin like that already, so that taking one
# away gives back every text exactly.
_GUARDED = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
_WORDS = {
    Verdict.UP: {"up", "1", "+1", "1.0", "good", "yes", "true", "like", "positive", "👍"},
    Verdict.DOWN: {"down", "-1", "0", "0.0", "-1.0", "bad", "no", "false", "dislike", "negative", "👎"},
}


def guarded(text: str) -> str:
    """The text as a cell."""
    return f"'{text}" if _GUARDED.match(text) else text


def unguarded(cell: str) -> str:
    """The text of a cell."""
    return cell[1:] if cell.startswith("'") and _GUARDED.match(cell) else cell


def time_cell(at: float) -> str:
    """UTC in ISO 8601, to the microsecond; seconds since 1970 where a calendar has no such day."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return repr(at)


def time_of(cell: str, column: str) -> float | None:
    """Seconds since 1970 from ISO 8601 (UTC where no zone is given) or from a number; None for an empty cell."""
    if not cell.strip():
        return None
    try:
        return float(cell)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(cell.strip())
    except ValueError as error:
        raise BadRow(f"its {column} is {cell[:40]!r}. Write it as 2031-05-01T09:30:00.") from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def verdict_of(cell: str) -> Verdict | None:
    """None for an empty cell."""
    word = cell.strip().casefold()
    if not word:
        return None
    for verdict, words in _WORDS.items():
        if word in words:
            return verdict
    raise BadRow(f"its verdict is {cell[:40]!r}. Write up or down, or leave it empty.")
