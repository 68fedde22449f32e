"""What of a text can be seen: a message of zero-width characters is empty, and a title has none of them."""

import regex

# Controls, white space, marks that stand on another character, fillers of Hangul, and Braille without a dot.
_UNSEEN = regex.compile(r"[\p{Cc}\p{Cf}\p{Cn}\p{Cs}\p{Z}\p{Mn}\p{Me}\u115f\u1160\u2800\u3164\uffa0]*")
# Without the joiners, which many scripts and emoji need within a word.
_CONTROLS = regex.compile(r"(?V1)[\p{Cc}\p{Cf}\p{Cn}\p{Cs}--[\u200c\u200d]]")


def is_blank(text: str) -> bool:
    """Whether nobody would see anything."""
    return _UNSEEN.fullmatch(text) is not None


def one_line(text: str, most: int) -> str:
    """The text as a title of so many characters: white space is one blank, what only steers a terminal is gone."""
    shown = " ".join(text.split())
    if not shown.isprintable():
        shown = " ".join(_CONTROLS.sub("", shown).split())
    return shown[:most]
