"""Rated answers to approved examples, and for each other answer the rule that dropped it.

In: answers with the latest rating of each rater and the reviewer's decision that stands. Out: candidates for the
dataset and the drop reasons. Pure.

The rules: what a reviewer decided outranks what raters say, so a rejected answer never counts, and an approved or
corrected one does. Without a decision a correction always counts and its text is the approved completion, the latest
one if there are several; an answer rated up counts if nobody rated it down; an unrated answer never counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from store.records import Decision, RatedAnswer, Rating, Role, Ruling, Verdict
from trainer.examples.raters import over_share


class Drop(StrEnum):
    """Why an answer did not become an example, as the page says it."""

    UNRATED = "no rating left: it was taken back"
    QUARANTINED = "its rater is in quarantine, and no reviewer approved it"
    REJECTED = "rejected by a reviewer"
    RATED_DOWN = "rated down, and nobody wrote the right answer"
    EMPTY = "question or approved answer is empty"
    TOO_LONG = "approved answer is longer than an answer may be"
    OUTGROWN = "question and prompt are longer than the model's context"
    REPEATED = "same question and approved answer as another example"
    ONE_RATER = "its rater has brought as large a share as one may"
    OLDER = "rated before the newest ones that are looked at (newest_answers)"
    NEAR_GATE = "asks what a gate question asks, on which nobody may train"
    SIMILAR = "near-duplicate of other examples, of which there are enough"
    CROWDED = "its topic is among the largest, and max_train leaves no room"


@dataclass(frozen=True)
class Approved:
    """An answer that counts, with the completion to learn and whether a person wrote it.

    `rater` is whose word it counts on: who wrote the completion, or approved of the answer as given.
    """

    answer: RatedAnswer
    completion: str
    corrected: bool
    rater: str
    reviewed: bool = False


def select(
    answers: Sequence[RatedAnswer], max_characters: int, rater_share: float = 1.0
) -> tuple[list[Approved], dict[str, Drop]]:
    """Approved examples in the order given, and message id -> rule for all others.

    No rater brings more than `rater_share` of them, where there are raters enough; what was reviewed is beside that.
    """
    approved: list[Approved] = []
    dropped: dict[str, Drop] = {}
    seen: set[tuple[tuple[tuple[Role, str], ...], str]] = set()
    for answer in answers:
        chosen = judge(answer)
        if isinstance(chosen, Approved):
            key = (answer.context, chosen.completion)
            if not chosen.completion.strip() or not any(text.strip() for _, text in answer.context[-1:]):
                chosen = Drop.EMPTY
            elif len(chosen.completion) > max_characters:
                chosen = Drop.TOO_LONG
            elif key in seen:
                chosen = Drop.REPEATED
            else:
                seen.add(key)
                approved.append(chosen)
                continue
        dropped[answer.message_id] = chosen
    over = over_share([item for item in approved if not item.reviewed], rater_share)
    segment_ids = [item for item in approved if item.answer.message_id not in over]
    return segment_ids, dropped | dict.fromkeys(over, Drop.ONE_RATER)


def judge(answer: RatedAnswer) -> Approved | Drop:
    """What its decision and its ratings alone make of an answer."""
    if answer.decision is not None:
        return _decided(answer, answer.decision)
    corrections = [rating for rating in answer.ratings if rating.correction is not None]
    if corrections:
        latest = max(corrections, key=_when)
        return Approved(answer, (latest.correction or "").strip(), True, latest.rater)
    verdicts = [rating for rating in answer.ratings if rating.verdict is not None]
    if not verdicts:
        return Drop.UNRATED
    if any(rating.verdict is Verdict.DOWN for rating in verdicts):
        return Drop.RATED_DOWN
    return Approved(answer, answer.answer.strip(), False, max(verdicts, key=_when).rater)


def _decided(answer: RatedAnswer, decision: Decision) -> Approved | Drop:
    if decision.ruling is Ruling.REJECT:
        return Drop.REJECTED
    if decision.correction is None:
        return Approved(answer, answer.answer.strip(), False, decision.reviewer, reviewed=True)
    text = decision.correction.strip()
    authors = [rating for rating in answer.ratings if (rating.correction or "").strip() == text]
    author = max(authors, key=_when).rater if authors and text else decision.reviewer
    return Approved(answer, text, True, author, reviewed=True)


def _when(rating: Rating) -> tuple[float, str]:
    return rating.created_at, rating.id
