"""Selects approved answers by their ratings and their raters, and says by which rule others are dropped."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from store.outdated import OutdatedFacts, judged_at
from store.ratings import Approval, NotApproved, approval
from store.records import RatedAnswer, Role, Split
from store.visible import is_blank

Context = tuple[tuple[Role, str], ...]


class DropReason(StrEnum):
    """Why an answer is not an example, as pages and commands show it."""

    UNRATED = NotApproved.UNRATED.value
    REJECTED = NotApproved.REJECTED.value
    RATED_DOWN = NotApproved.RATED_DOWN.value
    CUT = NotApproved.CUT.value
    WITH_TOOLS = "could call tools, which nothing that is trained or proven here has"
    OUTDATED = "says what the prompt no longer says, and was approved before it was changed"
    OUTLIER_RATER = "its rater is set aside as an outlier, and no reviewer approved it"
    EMPTY = "question or approved answer is empty"
    TOO_LONG = "approved answer is longer than an answer may be"
    REPEATED = "same question and approved answer as another example"
    OLDER = "rated before the newest ones that are read (newest_answers)"
    OUTGROWN = "question and prompt are longer than the model's context"
    NEAR_GATE = "asks what a gate question asks, which may not be trained on"
    SIMILAR = "near-duplicate of other examples, of which there are enough"


@dataclass(frozen=True)
class CollectedAnswer:
    """An answer with the text to learn; the steps up to the dataset replace its texts.

    `rater` wrote the completion or approved of it; empty for an unrated answer, which is not `approved`.
    `judged_at` is the time of the last rating or decision (UTC seconds).
    `first_question` opened the conversation and decides its split; `split` is the one that is settled, if any.
    """

    message_id: str
    conversation_id: str
    context: Context
    completion: str
    first_question: str
    split: Split | None = None
    rater: str = ""
    corrected: bool = False
    reviewed: bool = False
    approved: bool = True
    judged_at: float = 0.0


def select(
    answers: Sequence[RatedAnswer], max_characters: int, outdated: OutdatedFacts | None = None
) -> tuple[list[CollectedAnswer], dict[str, DropReason]]:
    """Approved answers in the order given, and message id -> reason for all others."""
    approved: dict[tuple[Context, str], CollectedAnswer] = {}
    dropped: dict[str, DropReason] = {}
    for answer in answers:
        found = judge(answer)
        if isinstance(found, DropReason):
            dropped[answer.message_id] = found
        elif is_blank(found.completion) or is_blank(found.context[-1][1]):
            dropped[answer.message_id] = DropReason.EMPTY
        elif len(found.completion) > max_characters:
            dropped[answer.message_id] = DropReason.TOO_LONG
        elif outdated is not None and outdated.mentions_any(found.completion, found.judged_at):
            dropped[answer.message_id] = DropReason.OUTDATED
        elif (found.context, found.completion) in approved:
            dropped[answer.message_id] = DropReason.REPEATED
        else:
            approved[found.context, found.completion] = found
    return list(approved.values()), dropped


def judge(answer: RatedAnswer) -> CollectedAnswer | DropReason:
    """What ratings and decision alone make of an answer."""
    found = approval(answer.answer, answer.ratings, answer.decision, answer.is_whole)
    if not isinstance(found, Approval):
        return DropReason(found)
    if answer.with_tools:
        return DropReason.WITH_TOOLS
    return _collected(
        answer,
        found.text,
        rater=found.rater,
        corrected=found.corrected,
        reviewed=found.reviewed,
        judged_at=judged_at(answer.ratings, answer.decision),
    )


def unrated_example(answer: RatedAnswer) -> CollectedAnswer:
    """An answer that nobody rated, as it was given."""
    return _collected(answer, answer.answer, approved=False)


def exclude_raters(
    answers: Sequence[RatedAnswer], raters: Collection[str]
) -> tuple[list[RatedAnswer], list[str]]:
    """The answers as if these people had never rated or reviewed, and the message ids that nobody else judged."""
    if not raters:
        return list(answers), []
    left, gone = [], []
    for answer in answers:
        ratings = tuple(rating for rating in answer.ratings if rating.rater not in raters)
        decision = answer.decision if answer.decision and answer.decision.reviewer not in raters else None
        if ratings or decision:
            left.append(replace(answer, ratings=ratings, decision=decision))
        else:
            gone.append(answer.message_id)
    return left, gone


def _collected(answer: RatedAnswer, completion: str, **given: Any) -> CollectedAnswer:
    return CollectedAnswer(
        answer.message_id,
        answer.conversation_id,
        answer.context,
        completion.strip(),
        answer.context[0][1],
        answer.split,
        **given,
    )
