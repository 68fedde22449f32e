"""Times as files write them: ISO 8601, numbers in several units, and what spreadsheets make of either."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime

from store.errors import BadRow

BLANK = {"", "-", "nan", "nat", "none", "null", "n/a", "na", "#n/a"}  # what programs write for no value
_UNITS = (
    (1e17, 1e9),
    (1e14, 1e6),
    (1e11, 1e3),
    (1e8, 1.0),
)  # from this size on, so many of them are a second
_EARLIEST = 631_152_000.0  # 1990
_EXCEL = (32_874, 80_000)  # days since 30 December 1899: years 1990 to 2119
_EXCEL_1970 = 25_569
_DAY_S = 86_400.0
# 10/9/2025 8:53, 09.10.25, 2025/10/9, 10/9/2025, 8:53:20 PM
_DAY = re.compile(
    r"(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})(?:,?\s+(\d{1,2}):(\d\d)(?::(\d\d)(?:\.\d+)?)?\s*([ap]m)?)?", re.I
)


def parse_time(value: object, name: str, latest: float, day_first: bool = False) -> float | None:
    """Seconds since 1970, UTC where no zone is given; None for an empty cell. Raises BadRow, also for the future.

    What is up to a day after `latest` is taken: a time without a zone may be ahead of UTC.
    """
    text = str(value if value is not None else "").strip()
    if text.casefold() in BLANK:
        return None
    try:
        at = _of_number(text)
        at = _of_words(text, day_first) if at is None else at
    except (ValueError, OverflowError):
        at = None
    if at is None or not _EARLIEST <= at <= latest + _DAY_S:
        why = (
            "no time that can be read" if at is None else "before 1990" if at < _EARLIEST else "in the future"
        )
        raise BadRow(f"its {name} is {text[:40]!r}, which is {why}. Write it as 2025-05-01T09:30:00.")
    return at


def day_order(value: str) -> str:
    """“day” or “month” for what comes first in a date, “either” where it does not tell; empty for other times."""
    found = _DAY.fullmatch(value.strip())
    if found is None or len(found[1]) > 2:
        return ""
    if found[2] == "." or int(found[1]) > 12:
        return "day"
    return "month" if int(found[3]) > 12 else "either"


def number(text: str) -> float | None:
    """Also with a decimal comma."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None


def _of_number(text: str) -> float | None:
    value = number(text)
    if value is None or (len(text) == 8 and text.startswith(("19", "20"))):
        return None  # 20251009
    for size, per_second in _UNITS:
        if value >= size:
            return value / per_second
    if _EXCEL[0] <= value <= _EXCEL[1]:
        return float(round((value - _EXCEL_1970) * _DAY_S))
    raise ValueError(text)


def _of_words(text: str, day_first: bool) -> float:
    with suppress(ValueError):
        return _seconds(datetime.fromisoformat(re.sub(r"\s*(UTC|GMT)$", "+00:00", text)))
    found = _DAY.fullmatch(text)
    if found is None:
        raise ValueError(text)
    first, sign, second, third, hour, minute, second_, half = found.groups()
    if len(first) == 4:
        year, month, day = first, second, third
    else:
        year, month, day = third, *((second, first) if day_first or sign == "." else (first, second))
    hours = int(hour or 0)
    if half:
        hours = hours % 12 + 12 * (half.lower() == "pm")
    years = int(year) + (2000 if len(year) == 2 else 0)
    return _seconds(datetime(years, int(month), int(day), hours, int(minute or 0), int(second_ or 0)))


def _seconds(at: datetime) -> float:
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
