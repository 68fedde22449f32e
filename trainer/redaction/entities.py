"""Entities that detectors find, and the normalised text in which they look for them."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

BLANK = "\x00"  # hides what was found already from later detectors; normalised texts have none of their own
_PLAIN = re.compile(r"[\t-\r -~]*+")
_REPLACED = {
    **{character: character for character in "\t\n\v\f\r"},
    # Without width, yet no format characters by category: grapheme joiner, Hangul fillers, variation selectors.
    **dict.fromkeys(map(chr, (0x034F, 0x115F, 0x1160, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10))), ""),
    **{"\u2212": "-", "\u3002": ".", "\uff61": ".", "\u2028": "\n", "\u2029": "\n"},
}
_REPLACED_CATEGORIES = {"Cc": "", "Cf": "", "Cs": "", "Zs": " ", "Pd": "-"}


class RedactionError(Exception):
    """A rule cannot be used, so nothing is trained; the message says what to do."""


class Kind(StrEnum):
    """As placeholders name them; people may add kinds of their own."""

    PRIVATE_KEY = "PRIVATE_KEY"
    CREDENTIALS = "CREDENTIALS"  # user:password in a URL
    KEY = "KEY"  # API keys and tokens
    SECRET = "SECRET"  # what a text calls a password, key or token
    EMAIL = "EMAIL"
    IBAN = "IBAN"
    MAC = "MAC"
    IP = "IP"
    NATIONAL_ID = "NATIONAL_ID"
    CARD = "CARD"
    PHONE = "PHONE"


@dataclass(frozen=True)
class Entity:
    """Characters `start` to `end` of a text. Equal `value`s of a kind get one placeholder, however they are written."""

    start: int
    end: int
    kind: str
    value: str


Detector = Callable[[str], Iterator[Entity]]


@dataclass(frozen=True)
class NormalisedText:
    """`offsets[n]` is where character n of `text` stands in the original."""

    text: str
    offsets: Sequence[int]

    def original_span(self, start: int, end: int) -> tuple[int, int]:
        return self.offsets[start], self.offsets[end - 1] + 1


def normalise(text: str) -> NormalisedText:
    """The text as people read it: full-width digits become digits, characters without width disappear."""
    if _PLAIN.fullmatch(text):
        return NormalisedText(text, range(len(text)))
    forms = {character: _normalised(character) for character in set(text)}
    offsets = [place for place, character in enumerate(text) for _ in forms[character]]
    return NormalisedText("".join(map(forms.__getitem__, text)), offsets)


def _normalised(character: str) -> str:
    if character in _REPLACED:
        return _REPLACED[character]
    category = unicodedata.category(character)
    if category in _REPLACED_CATEGORIES:
        return _REPLACED_CATEGORIES[category]
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return unicodedata.normalize("NFKC", character)


def without_overlaps(entities: Iterable[Entity], text: str) -> list[Entity]:
    """In order; of two that overlap the first one, or the longer one where both start together."""
    chosen: list[Entity] = []
    for entity in sorted(entities, key=lambda entity: (entity.start, -entity.end)):
        overlaps = chosen and entity.start < chosen[-1].end
        if not overlaps and BLANK not in text[entity.start : entity.end]:
            chosen.append(entity)
    return chosen


def blank(text: str, entities: Iterable[Entity]) -> str:
    """The text with every entity blanked, of the same length. Entities come in order and do not overlap."""
    parts, at = [], 0
    for entity in entities:
        parts += [text[at : entity.start], BLANK * (entity.end - entity.start)]
        at = entity.end
    return "".join(parts) + text[at:]


def digits(text: str) -> str:
    return re.sub("[^0-9]", "", text)
