"""What of a text can be seen: a message of zero-width characters is empty, and a title has none of them."""

from __future__ import annotations

import unicodedata

_CONTROL = frozenset({"Cc", "Cf", "Cn", "Cs"})
# White space, and marks that stand on another character.
_INVISIBLE = _CONTROL | {"Zs", "Zl", "Zp", "Mn", "Me"}
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # fillers of Hangul, and Braille without a dot
_JOINERS = frozenset("\u200c\u200d")  # many scripts and emoji need them within a word


def is_blank(text: str) -> bool:
    """Whether nobody would see anything."""
    return all(char in _BLANK_LETTERS or unicodedata.category(char) in _INVISIBLE for char in text)


def one_line(text: str, most: int) -> str:
    """The text as a title of so many characters: white space is one blank, what only steers a terminal is gone."""
    shown = " ".join(text.split())
    if not shown.isprintable():
        kept = (char for char in shown if char in _JOINERS or unicodedata.category(char) not in _CONTROL)
        shown = " ".join("".join(kept).split())
    return shown[:most]
