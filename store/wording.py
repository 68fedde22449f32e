"""Reduces a text to its words, without case, spaces and punctuation, so that two texts can be compared."""

from __future__ import annotations

import re


def words_alone(text: str) -> str:
    """A text of signs alone stays as it is, since +1 and -1 are different answers."""
    return " ".join(re.findall(r"\w+|[^\w\s.,;:!?'\"()]", text.casefold())) or text
