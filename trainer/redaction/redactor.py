"""Replaces what detectors find in the texts of one example: `<EMAIL_1>` is the same address in all of them.

Repeated answers were found on the texts as people wrote them. Splits are decided later, by the redacted questions:
two questions that differ in a number alone are one question to the model.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import count

import regex

from store import Store
from store.demonstrations import PLACEHOLDER
from store.records import RedactionAction, RedactionRule
from trainer.examples.selection import CollectedAnswer
from trainer.redaction import contacts, credentials, numbers
from trainer.redaction.entities import (
    Detector,
    Entity,
    NormalisedText,
    blank,
    digits,
    normalise,
    without_overlaps,
)
from trainer.redaction.rules import Pattern, checked_pattern

# Who comes first wins: what is longer and surer. Cards come after the national ids of 18 digits, of which one in ten
# also fulfils Luhn's check.
_DETECTORS: tuple[Detector, ...] = (
    credentials.private_keys,
    credentials.url_credentials,
    credentials.keys,
    contacts.emails,
    numbers.ibans,
    contacts.macs,
    contacts.ips,
    numbers.national_ids,
    numbers.cards,
    credentials.named_secrets,
    contacts.phones,
)
_LONGEST_REPEATED = 128  # characters of an entity that is looked for where no detector sees it
_NUMBER = re.compile(r"(?<![0-9])[+(]{0,2}[0-9](?:[ .\-/()]{0,2}[0-9]){6,14}(?![0-9])")


@dataclass(frozen=True)
class Detected:
    """A text with the entities in it, in order and without overlaps."""

    source: NormalisedText
    entities: tuple[Entity, ...]

    def written(self, entity: Entity) -> str:
        return self.source.text[entity.start : entity.end]


@dataclass(frozen=True)
class Replacement:
    """`text`, as it was written, stood in text number `index` of the example."""

    index: int
    kind: str
    placeholder: str
    text: str


@dataclass(frozen=True)
class Redacted:
    texts: tuple[str, ...]
    replacements: tuple[Replacement, ...]


class Redactor:
    """Redacts for one assistant. What stands in `prompt_texts` is the team's own and stays."""

    def __init__(self, rules: Sequence[RedactionRule] = (), prompt_texts: Sequence[str] = ()):
        """Raises RedactionError for a rule that another version accepted."""
        keep = [rule for rule in rules if rule.action is RedactionAction.KEEP]
        self._rules = [
            (rule.kind, checked_pattern(rule.pattern, rule.literal))
            for rule in rules
            if rule.action is RedactionAction.REPLACE
        ]
        self._keep = [checked_pattern(rule.pattern, False) for rule in keep if not rule.literal]
        own = self.detect([*prompt_texts, *(rule.pattern for rule in keep if rule.literal)])
        self._own_values = {(entity.kind, entity.value) for each in own for entity in each.entities}
        self._own_text = "\n".join(each.source.text for each in own)
        # A millisecond an example: what is looked at again and again, after each rating, is not detected anew.
        self._remembered = lru_cache(maxsize=1 << 15)(self._redact)

    @classmethod
    def of(cls, store: Store, assistant_id: str) -> Redactor:
        """By the assistant's rules; what its prompt says stays. Raises as the constructor."""
        segments = store.prompts.latest(assistant_id).segments
        own = [text for one in segments for text in (one.text, one.user, one.assistant) if text]
        return _redactor(tuple(store.redaction_rules.all(assistant_id)), tuple(own))

    def redact(self, texts: Sequence[str]) -> Redacted:
        """Raises RedactionError when a rule's pattern takes too long."""
        return self._remembered(tuple(texts))

    def _redact(self, texts: tuple[str, ...]) -> Redacted:
        detected = self.detect(texts)
        # Placeholders that somebody typed are skipped.
        typed = "\n".join([self._own_text, *texts, *(each.source.text for each in detected)])
        taken = set(PLACEHOLDER.findall(typed))
        placeholders: dict[tuple[str, str], str] = {}
        free: dict[str, Iterator[int]] = defaultdict(lambda: count(1))
        redacted, replacements = [], []
        for index, (text, each) in enumerate(zip(texts, detected, strict=True)):
            parts, at = [], 0
            for entity in each.entities:
                if self._stays(entity, each.written(entity)):
                    continue
                start, end = each.source.original_span(entity.start, entity.end)
                kind, key = entity.kind, (entity.kind, entity.value)
                if key not in placeholders:
                    placeholders[key] = next(p for n in free[kind] if (p := f"<{kind}_{n}>") not in taken)
                placeholder = placeholders[key]
                replacements.append(Replacement(index, kind, placeholder, text[start:end]))
                parts += [text[at:start], placeholder]
                at = end
            redacted.append("".join(parts) + text[at:])
        return Redacted(tuple(redacted), tuple(replacements))

    def detect(self, texts: Sequence[str]) -> list[Detected]:
        """What is personal or secret in each; what is found in one text is found in the others too."""
        return _detect_again([self._detect(text) for text in texts])

    def _detect(self, text: str) -> Detected:
        source = normalise(text)
        entities: list[Entity] = []
        left = source.text
        detectors = list(_DETECTORS)
        detectors += [partial(_by_rule, kind, pattern) for kind, pattern in self._rules]
        for detector in detectors:
            new = without_overlaps(detector(left), left)
            left = blank(left, new)
            entities += new
        return Detected(source, tuple(without_overlaps(entities, source.text)))

    def _stays(self, entity: Entity, written: str) -> bool:
        alone = rf"(?<![^\W_]){re.escape(written)}(?![^\W_])"
        return (
            (entity.kind, entity.value) in self._own_values
            or (written in self._own_text and re.search(alone, self._own_text) is not None)
            or any(pattern.matches_all_of(written) for pattern in self._keep)
        )


@lru_cache(maxsize=8)
def _redactor(rules: tuple[RedactionRule, ...], own: tuple[str, ...]) -> Redactor:
    return Redactor(rules, own)


@dataclass(frozen=True)
class RedactedAnswers:
    """`replacements` are those in the example of each message id. `unasked` are approved answers with something
    personal that stands nowhere before them, nor in the prompt: the model can learn its placeholder only by heart.
    """

    answers: tuple[CollectedAnswer, ...]
    replacements: Mapping[str, tuple[Replacement, ...]] = field(default_factory=dict)
    unasked: tuple[str, ...] = ()


def redact_answers(answers: Sequence[CollectedAnswer], redactor: Redactor) -> RedactedAnswers:
    """Raises RedactionError when a rule's pattern takes too long."""
    safe, unasked = [], []
    replacements: dict[str, tuple[Replacement, ...]] = {}
    for one in answers:
        redacted = redactor.redact([*(text for _, text in one.context), one.completion])
        *texts, completion = redacted.texts
        context = tuple((role, text) for (role, _), text in zip(one.context, texts, strict=True))
        question = one.first_question
        if question != context[0][1]:
            # By itself: what comes after it must not change the conversation's split.
            question = redactor.redact([question]).texts[0]
        safe.append(replace(one, context=context, completion=completion, first_question=question))
        if redacted.replacements:
            replacements[one.message_id] = redacted.replacements
        asked = {each.placeholder for each in redacted.replacements if each.index < len(context)}
        if one.approved and any(each.placeholder not in asked for each in redacted.replacements):
            unasked.append(one.message_id)
    return RedactedAnswers(tuple(safe), replacements, tuple(unasked))


def _by_rule(kind: str, pattern: Pattern, text: str) -> Iterator[Entity]:
    for start, end in pattern.spans(text):
        yield Entity(start, end, kind, text[start:end])


def _detect_again(detected: list[Detected]) -> list[Detected]:
    """Also finds an entity where the word that gave it away is missing, and numbers with other separators."""
    known = {each.written(entity): entity for each in detected for entity in each.entities}
    if not known:
        return detected
    by_digits: dict[str, Entity] = {}
    for written, entity in known.items():
        if len(digits(written)) >= 7 and not re.search("[A-Za-z]", written):
            by_digits |= {digits(written): entity, entity.value.lstrip("+"): entity}
    words = [written for written in known if 2 <= len(written) <= _LONGEST_REPEATED]
    repeated = regex.compile(r"(?<![0-9A-Za-z])\L<words>(?![^\W_])", words=words)
    again = []
    for each in detected:
        left = blank(each.source.text, each.entities)
        found = [(match, known[match[0]]) for match in repeated.finditer(left) if words]
        for match in _NUMBER.finditer(left) if by_digits else ():
            if digits(match[0]) in by_digits:
                found.append((match, by_digits[digits(match[0])]))
        new = [Entity(match.start(), match.end(), entity.kind, entity.value) for match, entity in found]
        again.append(Detected(each.source, tuple(without_overlaps([*each.entities, *new], each.source.text))))
    return again
