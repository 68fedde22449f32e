"""What a column of ratings means: words, 0 and 1, or a scale, of which somebody has to say what is good."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from store.errors import BadRow, StoreError
from store.io.times import BLANK, number
from store.records import Verdict

_UP = "up good yes true y t like liked positive correct helpful approved accepted thumbsup upvote 👍 ✓"
_DOWN = (
    "down bad no false n f dislike disliked negative incorrect unhelpful rejected thumbsdown downvote 👎 ✗"
)
WORDS: Mapping[str, Verdict | None] = {
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
        word = _word(value)
        value_ = None if word in BLANK else number(word)
        if value_ is not None and self.up_from is not None:
            if value_ >= self.up_from:
                return Verdict.UP
            return Verdict.DOWN if self.down_to is not None and value_ <= self.down_to else None
        if value_ in _PLAIN:
            return {1.0: Verdict.UP, -1.0: Verdict.DOWN}.get(value_, self.zero)
        if word in WORDS:
            return WORDS[word]
        raise BadRow(f"its verdict is {str(value)[:40]!r}. Write up or down, or leave it empty.")


def is_verdict(value: str) -> bool:
    word = _word(value)
    return word in WORDS or number(word) in _PLAIN


def find_scale(
    name: str, values: Mapping[str, int], up_from: float | None, down_to: float | None, is_scale: bool = False
) -> Scale:
    """By all `values` of a column, with how often each is there. `is_scale`: it never has just 0 and 1.

    Raises StoreError where they can be read in more than one way.
    """
    if down_to is not None and (up_from is None or down_to >= up_from):
        raise StoreError(f"--down-to {down_to:g} needs an --up-from above it.")
    words = {value: _word(value) for value in values}
    numbers = {found for word in words.values() if word not in BLANK and (found := number(word)) is not None}
    unknown = sum(
        values[value] for value, word in words.items() if word not in WORDS and number(word) is None
    )
    if up_from is None and numbers and (is_scale or numbers - _PLAIN):
        low, high = min(numbers), max(numbers)
        low, high = (1.0, 5.0) if low >= 1 and high <= 5 else (low, high)
        raise StoreError(
            f"The column {name!r} holds {_listed(values)}: a scale, of which 1 may be the best or the worst. Say which "
            f"numbers are good and which are bad, such as --up-from {high - (high - low) / 4:g} --down-to "
            f"{low + (high - low) / 4:g}; those between count as neither. Nothing was imported."
        )
    if unknown > 1 and unknown > _UNKNOWN_SHARE * sum(values.values()):
        raise StoreError(
            f"The column {name!r} holds {_listed(values)}, which are no verdicts. Write up or down in it, or say which "
            "column has the verdicts: --column verdict=NAME (--column verdict= for none). Nothing was imported."
        )
    return Scale(up_from, down_to, None if -1.0 in numbers else Verdict.DOWN)


def _word(value: object) -> str:
    word = str(value if value is not None else "").strip().casefold().removesuffix("%")
    if word[:1] in ("👍", "👎"):
        return word[0]  # without the colour of the skin
    return re.sub(r"(?<=[a-z])[ _-]+(?=[a-z])", "", word)


def _listed(values: Mapping[str, int]) -> str:
    shown = sorted(values, key=lambda value: (-values[value], value))[:8]
    return ", ".join(f"{value[:30]!r} ({values[value]:,} ×)" for value in shown) + (
        ", …" if len(values) > 8 else ""
    )
