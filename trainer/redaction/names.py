"""Finds names of people and places with a token classification model; imported only when a setting names one."""

from __future__ import annotations

from collections.abc import Iterator

from transformers import pipeline

from trainer.redaction.entities import BLANK, Entity, Kind, RedactionError

# Labels of the usual data sets (CoNLL, OntoNotes, WikiNEuRal and those made for personal data), without B- and I-.
_KINDS = {
    **dict.fromkeys(("PER", "PERSON", "NAME", "FIRSTNAME", "LASTNAME", "GIVENNAME", "SURNAME"), Kind.PERSON),
    **dict.fromkeys(
        ("LOC", "LOCATION", "GPE", "CITY", "STATE", "COUNTRY", "STREET", "ADDRESS", "FAC"), Kind.PLACE
    ),
}
_WINDOW_TOKENS, _OVERLAP_TOKENS = 400, 64


class NameFinder:
    """Runs on the CPU and gives the same answers every time. `model` is a directory or the hub's id."""

    def __init__(self, model: str):
        """Raises RedactionError."""
        try:
            self._find = pipeline(
                "token-classification", model=model, aggregation_strategy="simple", device="cpu"
            )
            self._find.tokenizer.model_max_length = min(self._find.tokenizer.model_max_length, _WINDOW_TOKENS)
        except (OSError, ValueError, KeyError) as error:
            raise RedactionError(
                f"privacy_model={model} cannot be loaded as a token classification model ({error}). Give a directory "
                "or the id of one, or privacy_model=none."
            ) from error
        labels = {_bare(label) for label in self._find.model.config.id2label.values()}
        if not labels & _KINDS.keys():
            raise RedactionError(
                f"privacy_model={model} has the labels {', '.join(sorted(labels))}, and none of them means a person "
                f"or a place ({', '.join(_KINDS)}). Choose another model, or privacy_model=none."
            )

    def names(self, text: str) -> Iterator[Entity]:
        """A detector; it comes last."""
        if not text.strip(BLANK + " \n"):
            return
        # Spaces for what was found already: they are no part of a name, and places stay what they are.
        for found in self._find(text.replace(BLANK, " "), stride=_OVERLAP_TOKENS):
            kind = _KINDS.get(_bare(str(found["entity_group"])))
            start, end = _whole_words(text, int(found["start"]), int(found["end"]))
            name = text[start:end]
            if kind is not None and any(character.isalpha() for character in name):
                yield Entity(start, end, kind, name.casefold())


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """Models mark pieces of words; half a name is still a name."""
    start += len(text[start:end]) - len(text[start:end].lstrip(BLANK + " \t\n"))
    end = start + len(text[start:end].rstrip(BLANK + " \t\n"))
    while 0 < start < end and text[start - 1 : start + 1].isalnum():
        start -= 1
    while start < end < len(text) and text[end - 1 : end + 1].isalnum():
        end += 1
    return start, end


def _bare(label: str) -> str:
    return label.upper().removeprefix("B-").removeprefix("I-").replace("_", "")
