"""Redacts collected answers: personal data become placeholders, the same in all texts of one example.

Repeated answers were found on the texts as people wrote them. Splits are decided later, by the redacted questions:
two questions that differ in a number alone are one question to the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from store import Store
from trainer.examples.selection import CollectedAnswer
from trainer.redaction.redactor import Redactor, Replacement


@dataclass(frozen=True)
class RedactedAnswers:
    """`replacements` are those in the example of each message id. `unasked` are approved answers with something
    personal that stands nowhere before them, nor in the prompt: the model can learn its placeholder only by heart.
    """

    answers: tuple[CollectedAnswer, ...]
    replacements: Mapping[str, tuple[Replacement, ...]] = field(default_factory=dict)
    unasked: tuple[str, ...] = ()


def redactor_of(store: Store, assistant_id: str) -> Redactor:
    """By the assistant's rules; what its prompt says stays. Raises RedactionError for a rule that cannot be used."""
    segments = store.prompts.latest(assistant_id).segments
    own = [text for segment in segments for text in (segment.text, segment.user, segment.assistant) if text]
    return Redactor(store.redaction_rules.all(assistant_id), own)


def redact_answers(answers: Sequence[CollectedAnswer], redactor: Redactor) -> RedactedAnswers:
    """Raises RedactionError when a rule's pattern takes too long."""
    safe, unasked = [], []
    replacements: dict[str, tuple[Replacement, ...]] = {}
    for one in answers:
        redacted = redactor.redact([*(text for _, text in one.context), one.completion])
        *texts, completion = redacted.texts
        context = tuple((role, text) for (role, _), text in zip(one.context, texts, strict=True))
        question = one.first_question
        if (
            question != context[0][1]
        ):  # by itself: what comes after it must not change the conversation's split
            question = redactor.redact([question]).texts[0]
        safe.append(replace(one, context=context, completion=completion, first_question=question))
        if redacted.replacements:
            replacements[one.message_id] = redacted.replacements
        asked = {each.placeholder for each in redacted.replacements if each.index < len(context)}
        if one.approved and any(each.placeholder not in asked for each in redacted.replacements):
            unasked.append(one.message_id)
    return RedactedAnswers(tuple(safe), replacements, tuple(unasked))
