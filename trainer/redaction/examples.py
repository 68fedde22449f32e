"""Redacts collected answers: personal data become placeholders, the same in all texts of one example.

Repeated answers were found on the texts as people wrote them. Splits are decided later, by the redacted questions:
two questions that differ in a number alone are one question to the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from store import Store
from trainer.examples.records import CollectedAnswer, Context
from trainer.redaction.redactor import Redactor, Replacement


@dataclass(frozen=True)
class RedactedAnswers:
    """`replacements` are those in the example of each message id. `unasked` are approved answers with something
    personal that stands nowhere before them, nor in the prompt: the model can learn its placeholder only by heart.
    """

    answers: tuple[CollectedAnswer, ...]
    replacements: Mapping[str, tuple[Replacement, ...]] = field(default_factory=dict)
    unasked: tuple[str, ...] = ()

    def counts(self, messages: Collection[str]) -> dict[str, int]:
        """Kind -> how many entities were replaced in the answers of these messages."""
        kinds = Counter(each.kind for id in messages for each in self.replacements.get(id, ()))
        return dict(sorted(kinds.items()))


def redact(
    store: Store,
    assistant_id: str,
    answers: Sequence[CollectedAnswer],
) -> RedactedAnswers:
    """By the assistant's rules; what its prompt says stays. Raises RedactionError."""
    segments = store.prompts.latest(assistant_id).segments
    own = [text for segment in segments for text in (segment.text, segment.user, segment.assistant) if text]
    return redact_answers(answers, Redactor(store.redaction_rules.all(assistant_id), own))


def redact_answers(answers: Sequence[CollectedAnswer], redactor: Redactor) -> RedactedAnswers:
    """Raises RedactionError."""
    redacted, unasked = [], []
    replacements: dict[str, tuple[Replacement, ...]] = {}
    for one in answers:
        safe, found = _redact_answer(one, redactor)
        redacted.append(safe)
        if found:
            replacements[one.message_id] = found
        if one.approved and _is_unasked(found, len(one.context)):
            unasked.append(one.message_id)
    return RedactedAnswers(tuple(redacted), replacements, tuple(unasked))


def remarks(unasked: int) -> list[str]:
    """What a person should know about approved answers with something personal that nobody asked about."""
    if not unasked:
        return []
    return [
        f"{unasked:,} approved answer{'s' if unasked > 1 else ''} with something personal that stands neither in the "
        "question nor in the prompt: the adapter may say the placeholder. If it is the team's own, put it into the "
        "prompt, or: python -m trainer privacy keep TEXT."
    ]


def _redact_answer(
    one: CollectedAnswer, redactor: Redactor
) -> tuple[CollectedAnswer, tuple[Replacement, ...]]:
    redacted = redactor.redact([*(text for _, text in one.context), one.completion])
    context = tuple((role, text) for (role, _), text in zip(one.context, redacted.texts, strict=False))
    question = _redact_first_question(one, context, redactor)
    changed = replace(
        one,
        context=context,
        completion=redacted.texts[-1],
        first_question=question,
    )
    return changed, redacted.replacements


def _redact_first_question(one: CollectedAnswer, context: Context, redactor: Redactor) -> str:
    """By itself: what comes after it must not change the conversation's split."""
    if context[0][1] == one.first_question:
        return one.first_question
    return redactor.redact([one.first_question]).texts[0]


def _is_unasked(replacements: tuple[Replacement, ...], answer: int) -> bool:
    """Whether the answer, text number `answer`, has a placeholder that stands nowhere before it."""
    asked = {each.placeholder for each in replacements if each.index < answer}
    return any(each.index == answer and each.placeholder not in asked for each in replacements)
