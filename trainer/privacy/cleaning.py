"""What was taken in to the same without personal data: texts replaced, and splits by what is left of the questions.

In: an Intake and a Screen. Out: an Intake with placeholders, and what they stand for. Place in the flow: before
contexts are cut to what fits the model, so that an example is replaced as a whole. Does not know what is personal.

Repeated answers and questions that are known were decided on the texts as people wrote them. Splits are decided anew:
two questions that differ in a number alone are one question to the model, and must not be on both sides of the gate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from store.records import Example, Role, Split
from trainer.examples.dataset import key_of
from trainer.examples.intake import Intake
from trainer.examples.selection import Approved
from trainer.examples.splits import assign, split_of
from trainer.privacy.replacing import Screen, Swap

Context = tuple[tuple[Role, str], ...]


@dataclass(frozen=True)
class Cleaned:
    """`swaps` are what was replaced in the example of each message; `unasked` are approved answers with something
    personal that stands nowhere before them, nor in the prompt: the model can learn its placeholder only by heart.
    """

    intake: Intake
    swaps: Mapping[str, tuple[Swap, ...]] = field(default_factory=dict)
    unasked: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Kind -> how many passages were replaced in what is trained on or proves."""
        kept = {item.answer.message_id for item in self.intake.approved}
        kept |= {example.message_id for example in self.intake.followed}
        return dict(
            sorted(
                Counter(swap.kind for id, swaps in self.swaps.items() if id in kept for swap in swaps).items()
            )
        )


def clean(intake: Intake, recorded: Mapping[str, Split], screen: Screen) -> Cleaned:
    """`recorded` are the splits that hold for ever. Raises PatternTooSlow."""
    swaps: dict[str, tuple[Swap, ...]] = {}
    approved, unasked = [], []
    for item in intake.approved:
        id = item.answer.message_id
        # What a correction is preferred to becomes part of the dataset as well.
        rejected = (item.answer.answer,) if item.corrected else ()
        context, (completion, *given), swaps[id] = _replaced(
            screen, item.answer.context, item.completion, *rejected
        )
        if _says_what_nobody_asked(swaps[id], len(context)):
            unasked.append(id)
        answer = replace(item.answer, context=context, answer=given[0] if given else item.answer.answer)
        approved.append(replace(item, answer=answer, completion=completion))
    splits = intake.splits | _resplit(intake.approved, approved, recorded, screen)
    known = {key_of(item.answer.context) for item in approved}
    followed = {}
    for example in intake.followed:
        context, (completion,), found = _replaced(screen, example.context, example.completion)
        key = key_of(context)
        if not found or (key not in known and _still_train(example, recorded, screen)):
            followed[key] = replace(example, context=context, completion=completion)
            swaps[example.message_id] = found
    return Cleaned(
        replace(intake, approved=approved, splits=splits, followed=list(followed.values())),
        {id: found for id, found in swaps.items() if found},
        tuple(unasked),
    )


def privacy_remarks(noted: Mapping[str, Any]) -> list[str]:
    """What a person should know, of what a run noted about its dataset."""
    count = noted.get("unasked", 0)
    return [
        f"{count:,} approved answer{'s' if count > 1 else ''} with something personal that stands neither in the "
        "question nor in the prompt: the adapter may say the placeholder. If it is the team's own, put it into the "
        "prompt, or: python -m trainer privacy keep TEXT."
    ] * bool(count)


def _replaced(
    screen: Screen, context: Context, *answers: str
) -> tuple[Context, tuple[str, ...], tuple[Swap, ...]]:
    done = screen.replace([*(text for _, text in context), *answers])
    turns = tuple((role, text) for (role, _), text in zip(context, done.texts, strict=False))
    return turns, done.texts[len(context) :], done.swaps


def _says_what_nobody_asked(swaps: tuple[Swap, ...], answer: int) -> bool:
    """Whether the answer, text number `answer`, has a placeholder that stands nowhere before it."""
    asked = {swap.placeholder for swap in swaps if swap.number < answer}
    return any(swap.number == answer and swap.placeholder not in asked for swap in swaps)


def _resplit(
    written: list[Approved], cleaned: list[Approved], recorded: Mapping[str, Split], screen: Screen
) -> dict[str, Split]:
    """Where conversations go that have no split yet, by their first questions without anything personal."""
    questions = {item.answer.conversation_id: item.answer.context[0][1] for item in cleaned}
    for item in written:
        id = item.answer.conversation_id
        if id not in recorded and questions[id] != item.answer.context[0][1]:
            questions[id] = _first(screen, item.answer.context[0][1])
    return {id: split for id, split in assign(questions, recorded).items() if id not in recorded}


def _still_train(example: Example, recorded: Mapping[str, Split], screen: Screen) -> bool:
    question = _first(screen, example.context[0][1])
    return recorded.get(example.conversation_id, split_of(question)) is Split.TRAIN


def _first(screen: Screen, question: str) -> str:
    """The first question by itself: what comes after it must not change the conversation's split."""
    return screen.replace([question]).texts[0]
