"""Names of people and places by a model: optional, since it is never sure.

In: a model directory or hub id of a token classification model, texts. Out: passages. Place in the flow: after all
other detectors. The boundary to `transformers`; imported only when the setting `privacy_model` names a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transformers import pipeline

from trainer.privacy.errors import NoNameModel
from trainer.privacy.passages import BLANK, Kind, Passage

# Labels of the usual data sets (CoNLL, OntoNotes, WikiNEuRal and those made for personal data), without B- and I-.
_KINDS = {
    **dict.fromkeys(("PER", "PERSON", "NAME", "FIRSTNAME", "LASTNAME", "GIVENNAME", "SURNAME"), Kind.PERSON),
    **dict.fromkeys(
        ("LOC", "LOCATION", "GPE", "CITY", "STATE", "COUNTRY", "STREET", "ADDRESS", "FAC"), Kind.PLACE
    ),
}
_WINDOW_TOKENS, _OVERLAP_TOKENS = 400, 64


class NameFinder:
    """A token classification model on the CPU, the same answers every time."""

    def __init__(self, model: str):
        """Raises NoNameModel."""
        try:
            self._find = pipeline(
                "token-classification", model=model, aggregation_strategy="simple", device="cpu"
            )
            self._find.tokenizer.model_max_length = min(self._find.tokenizer.model_max_length, _WINDOW_TOKENS)
        except (OSError, ValueError, KeyError) as error:
            raise NoNameModel(
                f"privacy_model={model} cannot be loaded as a token classification model ({error}). Give a directory "
                "or the id of one, or privacy_model=none."
            ) from error
        labels = {_bare(label) for label in self._find.model.config.id2label.values()}
        if not labels & _KINDS.keys():
            raise NoNameModel(
                f"privacy_model={model} has the labels {', '.join(sorted(labels))}, and none of them means a person "
                f"or a place ({', '.join(_KINDS)}). Choose another model, or privacy_model=none."
            )

    def names(self, text: str) -> Iterator[Passage]:
        """In the text's order; what is blanked is left alone."""
        if not text.strip(BLANK + " \n"):
            return
        end = 0
        # Spaces for what was found already: they are no part of a name, and places stay what they are.
        for found in self._find(text.replace(BLANK, " "), stride=_OVERLAP_TOKENS):
            passage = _passage(text, found)
            if passage is not None and passage.start >= end:
                end = passage.end
                yield passage


def _passage(text: str, found: dict[str, Any]) -> Passage | None:
    kind = _KINDS.get(_bare(str(found["entity_group"])))
    start, end = int(found["start"]), int(found["end"])
    while start < end and (text[start].isspace() or text[start] == BLANK):
        start += 1
    while start < end and (text[end - 1].isspace() or text[end - 1] == BLANK):
        end -= 1
    # Models mark pieces of words; half a name is still a name.
    while start > 0 and start < end and text[start].isalnum() and text[start - 1].isalnum():
        start -= 1
    while start < end < len(text) and text[end - 1].isalnum() and text[end].isalnum():
        end += 1
    written = text[start:end]
    if kind is None or BLANK in written or not any(c.isalpha() for c in written):
        return None
    return Passage(start, end, kind, written.casefold())


def _bare(label: str) -> str:
    return label.upper().removeprefix("B-").removeprefix("I-").replace("_", "")
