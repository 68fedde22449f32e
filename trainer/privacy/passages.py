"""What a detector finds: a passage of a text, its kind and the value that it stands for.

In: nothing. Out: the types that detectors share, and texts in which what was found is blanked. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

BLANK = "\x00"  # folded texts hold none, so that no detector sees what an earlier one has found


class Kind(StrEnum):
    """As placeholders name them; people may add kinds of their own."""

    PRIVATE_KEY = "PRIVATE_KEY"
    CREDENTIALS = "CREDENTIALS"  # user:password in a URL
    KEY = "KEY"  # API keys and tokens
    SECRET = "SECRET"  # what is said to be a password, key or token
    EMAIL = "EMAIL"
    IBAN = "IBAN"
    MAC = "MAC"
    IP = "IP"
    NATIONAL_ID = "NATIONAL_ID"
    CARD = "CARD"
    PHONE = "PHONE"
    PERSON = "PERSON"
    PLACE = "PLACE"


@dataclass(frozen=True)
class Passage:
    """Characters `start` to `end` of a text; equal `value`s of a kind get one placeholder, however they are written."""

    start: int
    end: int
    kind: str
    value: str


def blank(text: str, passages: Iterable[Passage]) -> str:
    """The text with every passage blanked, of the same length; passages come in order and do not overlap."""
    parts, at = [], 0
    for passage in passages:
        parts += [text[at : passage.start], BLANK * (passage.end - passage.start)]
        at = passage.end
    return "".join(parts) + text[at:] if parts else text
