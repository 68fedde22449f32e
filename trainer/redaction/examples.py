"""Redacts the examples of an intake and decides their splits by what is left of the questions.

Repeated answers and known questions were decided on the texts as people wrote them. Splits are decided anew: two
questions that differ in a number alone are one question to the model, and must not be on both sides of the gate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from store import Store
from store.records import Example, Role, Split
from trainer.examples.dataset import key_of
from trainer.examples.intake import Intake
from trainer.examples.selection import Approved
from trainer.examples.splits import assign, split_of
from trainer.redaction.entities import Detector
from trainer.redaction.redactor import Redactor, Replacement


@dataclass(frozen=True)
class RedactedIntake:
    """`replacements` are those in the example of each message id. `unasked` are approved answers with something
    personal that stands nowhere before them, nor in the prompt: the model can learn its placeholder only by heart.
    """

    intake: Intake
    replacements: Mapping[str, tuple[Replacement, ...]] = field(default_factory=dict)
    unasked: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Kind -> how many entities were replaced in what is trained on or proves."""
        used = [item.answer.message_id for item in self.intake.approved]
        used += [example.message_id for example in self.intake.distillation_examples]
        kinds = Counter(each.kind for id in used for each in self.replacements.get(id, ()))
        return dict(sorted(kinds.items()))


def redact(store: Store, assistant_id: str, intake: Intake, names: Detector | None = None) -> RedactedIntake:
    """By the assistant's rules; what its prompt says stays. Raises RedactionError."""
    segments = store.prompts.get(intake.prompt_id).segments
    own = [text for segment in segments for text in (segment.text, segment.user, segment.assistant) if text]
    redactor = Redactor(store.redaction_rules.all(assistant_id), own, names)
    return redact_intake(intake, store.splits.all(assistant_id), redactor)


def redact_intake(intake: Intake, recorded: Mapping[str, Split], redactor: Redactor) -> RedactedIntake:
    """`recorded` are the splits that hold for ever. Raises RedactionError."""
    replacements: dict[str, tuple[Replacement, ...]] = {}
    approved, unasked = [], []
    for item in intake.approved:
        redacted, replacements[item.answer.message_id] = _redact_approved(item, redactor)
        approved.append(redacted)
        if _is_unasked(replacements[item.answer.message_id], len(item.answer.context)):
            unasked.append(item.answer.message_id)
    splits = intake.splits | _assign_again(intake.approved, approved, recorded, redactor)
    known = {key_of(item.answer.context) for item in approved}
    distilled: dict[object, Example] = {}
    for example in intake.distillation_examples:
        context, (completion,), found = _redact_texts(redactor, example.context, example.completion)
        key = key_of(context)
        if not found or (key not in known and _stays_in_training(example, recorded, redactor)):
            distilled[key] = replace(example, context=context, completion=completion)
            replacements[example.message_id] = found
    return RedactedIntake(
        replace(intake, approved=approved, splits=splits, distillation_examples=list(distilled.values())),
        {id: found for id, found in replacements.items() if found},
        tuple(unasked),
    )


def remarks(unasked: int) -> list[str]:
    """What a person should know about approved answers with something personal that nobody asked about."""
    if not unasked:
        return []
    return [
        f"{unasked:,} approved answer{'s' if unasked > 1 else ''} with something personal that stands neither in the "
        "question nor in the prompt: the adapter may say the placeholder. If it is the team's own, put it into the "
        "prompt, or: python -m trainer privacy keep TEXT."
    ]


def _redact_approved(item: Approved, redactor: Redactor) -> tuple[Approved, tuple[Replacement, ...]]:
    # What a correction is preferred to becomes part of the dataset as well.
    rejected = [item.answer.answer] if item.corrected else []
    context, texts, found = _redact_texts(redactor, item.answer.context, item.completion, *rejected)
    answer = replace(item.answer, context=context, answer=texts[1] if rejected else item.answer.answer)
    return replace(item, answer=answer, completion=texts[0]), found


def _redact_texts(
    redactor: Redactor, context: tuple[tuple[Role, str], ...], *answers: str
) -> tuple[tuple[tuple[Role, str], ...], tuple[str, ...], tuple[Replacement, ...]]:
    redacted = redactor.redact([*(text for _, text in context), *answers])
    turns = tuple((role, text) for (role, _), text in zip(context, redacted.texts, strict=False))
    return turns, redacted.texts[len(context) :], redacted.replacements


def _is_unasked(replacements: tuple[Replacement, ...], answer: int) -> bool:
    """Whether the answer, text number `answer`, has a placeholder that stands nowhere before it."""
    asked = {each.placeholder for each in replacements if each.index < answer}
    return any(each.index == answer and each.placeholder not in asked for each in replacements)


def _assign_again(
    written: list[Approved], redacted: list[Approved], recorded: Mapping[str, Split], redactor: Redactor
) -> dict[str, Split]:
    """The splits of conversations that have none yet, by their first questions without anything personal."""
    questions = {item.answer.conversation_id: item.answer.context[0][1] for item in redacted}
    for item in written:
        id, question = item.answer.conversation_id, item.answer.context[0][1]
        if id not in recorded and questions[id] != question:
            questions[id] = _redact_question(redactor, question)
    return {id: split for id, split in assign(questions, recorded).items() if id not in recorded}


def _stays_in_training(example: Example, recorded: Mapping[str, Split], redactor: Redactor) -> bool:
    split = recorded.get(example.conversation_id)
    return (split or split_of(_redact_question(redactor, example.context[0][1]))) is Split.TRAIN


def _redact_question(redactor: Redactor, question: str) -> str:
    """The first question by itself: what comes after it must not change the conversation's split."""
    return redactor.redact([question]).texts[0]
