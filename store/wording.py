"""A text → what of it matters when two texts are compared: its words, without case, spaces and punctuation.

In: a text. Out: a text. Pure. Does not know whether it is a question or an answer.
"""

from __future__ import annotations

import re


def words_alone(text: str) -> str:
    """A text of signs alone stays as it is, since +1 and -1 are different answers."""
    return " ".join(re.findall(r"\w+|[^\w\s.,;:!?'\"()]", text.casefold())) or text
