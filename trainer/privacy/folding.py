"""A text as people read it: full-width digits are digits, and characters without width are gone.

In: a text. Out: its folded form, and for each place in it the place in the text. Place in the flow: before the
detectors, which see folded texts only. Pure. What is not replaced stays as it was written.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

_PLAIN = re.compile(r"[\t-\r -~]*+")
# Without width, yet no format characters by category: grapheme joiner, Hangul fillers, variation selectors.
_INVISIBLE = {0x034F, 0x115F, 0x1160, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10)}
_SPECIAL = {"\u2212": "-", "\u3002": ".", "\uff61": ".", "\u2028": "\n", "\u2029": "\n"}


@dataclass(frozen=True)
class Folded:
    """`places[n]` is where character n of `text` stands in the original; None when both run alike."""

    text: str
    places: Sequence[int] | None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where a passage stands in the original, with what has no width inside it."""
        return (start, end) if self.places is None else (self.places[start], self.places[end - 1] + 1)


def fold(text: str) -> Folded:
    """In time proportional to its length: each different character is looked up once."""
    plain = _PLAIN.match(text)
    if plain is not None and plain.end() == len(text):
        return Folded(text, None)
    table = {ord(character): _folded(character) for character in set(text)}
    if all(len(folded) == 1 for folded in table.values()):
        return Folded(text.translate(table), None)
    places = array("q")
    for place, character in enumerate(text):
        folded = table[ord(character)]
        if len(folded) == 1:
            places.append(place)
        else:
            places.extend([place] * len(folded))
    return Folded(text.translate(table), places)


def _folded(character: str) -> str:
    if character in "\t\n\v\f\r":
        return character
    if character in _SPECIAL:
        return _SPECIAL[character]
    category = unicodedata.category(character)
    # Control (NUL among them) and format characters, and halves of surrogate pairs.
    if category in ("Cc", "Cf", "Cs") or ord(character) in _INVISIBLE:
        return ""
    if category == "Zs":
        return " "
    if category == "Pd":
        return "-"
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return unicodedata.normalize("NFKC", character).replace("\x00", "")
