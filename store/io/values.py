"""Verdicts and times in the many forms in which files write them."""

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from store.errors import BadRow, StoreError
from store.records import Verdict

BLANK = {"", "-", "nan", "nat", "none", "null", "n/a", "na", "#n/a"}  # what programs write for no value
_UP = "up good yes true y t like liked positive correct helpful approved accepted thumbsup upvote 👍 ✓"
_DOWN = (
    "down bad no false n f dislike disliked negative incorrect unhelpful rejected thumbsdown downvote 👎 ✗"
)
_WORDS: Mapping[str, Verdict | None] = {
    **dict.fromkeys(_UP.split(), Verdict.UP),
    **dict.fromkeys(_DOWN.split(), Verdict.DOWN),
    **dict.fromkeys((*BLANK, "neutral", "neither", "unrated"), None),
}
_PLAIN = {-1.0, 0.0, 1.0}
_UNKNOWN_SHARE = 0.2  # of a column's values; with more of them it is another scale, not a few mistakes


@dataclass(frozen=True)
class Scale:
    """From `up_from` on a number is good, to `down_to` bad; without them 1 is good, -1 bad and 0 is `zero`."""

    up_from: float | None = None
    down_to: float | None = None
    zero: Verdict | None = Verdict.DOWN

    def verdict(self, value: object) -> Verdict | None:
        """Raises BadRow for what is no verdict."""
        word = _word(str(value))
        if word in _WORDS:
            return _WORDS[word]
        found = _number(word)
        if found is not None and self.up_from is not None:
            if found >= self.up_from:
                return Verdict.UP
            return Verdict.DOWN if self.down_to is not None and found <= self.down_to else None
        if found in _PLAIN:
            return {1.0: Verdict.UP, -1.0: Verdict.DOWN}.get(found, self.zero)
        raise BadRow(f"its verdict is {str(value)[:40]!r}. Write up or down, or leave it empty.")


THUMBS = Scale(zero=None)
SCORES = Scale(up_from=0.75, down_to=0.25)  # of metrics between 0 and 1


def is_verdict(value: str) -> bool:
    word = _word(value)
    return word in _WORDS or _number(word) in _PLAIN


def find_scale(
    name: str, values: Counter[str], up_from: float | None, down_to: float | None, is_scale: bool = False
) -> Scale:
    """By all `values` of a column, with how often each is there. `is_scale`: it never has just 0 and 1.

    Raises StoreError where they can be read in more than one way.
    """
    if down_to is not None and (up_from is None or down_to >= up_from):
        raise StoreError(f"--down-to {down_to:g} needs an --up-from above it.")
    others = {value: _number(word) for value in values if (word := _word(value)) not in _WORDS}
    numbers = {number for number in others.values() if number is not None}
    unknown = sum(values[value] for value, number in others.items() if number is None)
    most = [f"{value[:30]!r} ({count:,} ×)" for value, count in values.most_common(8)]
    listed = ", ".join(most if len(values) <= 8 else [*most, "…"])
    if up_from is None and numbers and (is_scale or numbers - _PLAIN):
        low, high = min(numbers), max(numbers)
        low, high = (1.0, 5.0) if low >= 1 and high <= 5 else (low, high)
        raise StoreError(
            f"The column {name!r} holds {listed}: a scale, of which 1 may be the best or the worst. Say which "
            f"numbers are good and which are bad, such as --up-from {high - (high - low) / 4:g} --down-to "
            f"{low + (high - low) / 4:g}; those between count as neither. Nothing was imported."
        )
    if unknown > 1 and unknown > _UNKNOWN_SHARE * values.total():
        raise StoreError(
            f"The column {name!r} holds {listed}, which are no verdicts. Write up or down in it, or say which "
            "column has the verdicts: --column verdict=NAME (--column verdict= for none). Nothing was imported."
        )
    return Scale(up_from, down_to, None if -1.0 in numbers else Verdict.DOWN)


@lru_cache(maxsize=1000)
def _word(value: str) -> str:
    word = value.strip().casefold().removesuffix("%")
    if word[:1] in ("👍", "👎"):
        return word[0]  # without the colour of the skin
    return re.sub(r"(?<=[a-z])[ _-]+(?=[a-z])", "", word)


def _number(text: str) -> float | None:
    """Also with a decimal comma."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None


# From this size on, so many of them are a second.
_UNITS = {1e17: 1e9, 1e14: 1e6, 1e11: 1e3, 1e8: 1.0}
_EXCEL = range(32_874, 80_000)  # days since 30 December 1899: years 1990 to 2119
_EARLIEST = 631_152_000.0  # 1990
DAY_S = 86_400.0  # another machine's clock may be ahead, and so may a time without a zone
# 10/9/2025 8:53, 09.10.25, 2025/10/9, 10/9/2025, 8:53:20 PM
_DATE = re.compile(
    r"(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})(?:,?\s+(\d{1,2}):(\d\d)(?::(\d\d)(?:\.\d+)?)?\s*([ap]m)?)?", re.I
)


def parse_time(value: object, name: str, latest: float, day_first: bool | None = None) -> float | None:
    """Seconds since 1970, UTC where no zone is given; None for an empty cell.

    Raises BadRow, also for what is more than a day after `latest`; and StoreError for a date that can be read in two
    ways while nobody has said whether the day comes first.
    """
    text = str(value).strip()
    if text.casefold() in BLANK:
        return None
    try:
        at = _of_number(text)
        at = _of_date(text, day_first) if at is None else at
    except (ValueError, OverflowError):
        at = None
    if at is not None and _EARLIEST <= at <= latest + DAY_S:
        return at
    why = "no time that can be read" if at is None else "before 1990" if at < _EARLIEST else "in the future"
    raise BadRow(f"its {name} is {text[:40]!r}, which is {why}. Write it as 2025-05-01T09:30:00.")


def _of_number(text: str) -> float | None:
    value = _number(text)
    if value is None or (len(text) == 8 and text.startswith(("19", "20"))):
        return None  # 20251009
    for size, per_second in _UNITS.items():
        if value >= size:
            return value / per_second
    if int(value) in _EXCEL:
        return float(round((value - 25_569) * DAY_S))
    raise ValueError(text)


def _of_date(text: str, day_first: bool | None) -> float:
    if text.endswith(("UTC", "GMT")):
        text = text[:-3].rstrip() + "+00:00"
    with suppress(ValueError):
        return _seconds(datetime.fromisoformat(text))
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError(text)
    first, sign, second, third, hour, minute, second_, half = found.groups()
    if len(first) == 4:
        year, month, day = first, int(second), int(third)
    else:
        year, month, day = third, *_month_and_day(text, int(first), int(second), sign == "." or day_first)
    hours = int(hour or 0)
    if half:
        hours = hours % 12 + 12 * (half.lower() == "pm")
    years = int(year) + (2000 if len(year) == 2 else 0)
    return _seconds(datetime(years, month, day, hours, int(minute or 0), int(second_ or 0)))


def _month_and_day(text: str, first: int, second: int, day_first: bool | None) -> tuple[int, int]:
    if max(first, second) > 12:
        return (second, first) if first > 12 else (first, second)
    if day_first is None and first != second:
        raise StoreError(
            f"In {text!r} the day or the month may come first. Say --day-first or --month-first, or write dates as "
            "2025-05-01. Nothing was imported."
        )
    return (second, first) if day_first else (first, second)


def _seconds(at: datetime) -> float:
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
