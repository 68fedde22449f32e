"""Rated answers to approved examples, and for each other answer the rule that dropped it.

In: answers with the latest rating of each rater. Out: candidates for the dataset and the drop reasons. Pure.

The rules: a correction always counts and its text is the approved completion, the latest one if there are
several; an answer rated up counts if nobody rated it down; an unrated answer never counts as approved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from store.records import RatedAnswer, Rating, Role, Verdict
from trainer.raters import over_share


class Drop(StrEnum):
    """Why an answer did not become an example, as the page says it."""

    UNRATED = "no rating left: it was taken back"
    RATED_DOWN = "rated down, and nobody wrote the right answer"
    EMPTY = "question or approved answer is empty"
    TOO_LONG = "approved answer is longer than an answer may be"
    OUTGROWN = "question and prompt are longer than the model's context"
    REPEATED = "same question and approved answer as another example"
    ONE_RATER = "its rater has brought as large a share as one may"
    NEAR_GATE = "asks what a gate question asks, on which nobody may train"
    SIMILAR = "near-duplicate of other examples, of which there are enough"
    CROWDED = "its topic is among the largest, and max_train leaves no room"


@dataclass(frozen=True)
class Approved:
    """An answer that counts, with the completion to learn and whether a person wrote it."""

    answer: RatedAnswer
    completion: str
    corrected: bool
    rater: str


def select(
    answers: Sequence[RatedAnswer], max_characters: int, rater_share: float = 1.0
) -> tuple[list[Approved], dict[str, Drop]]:
    """Approved examples in the order given, and message id -> rule for all others.

    No rater brings more than `rater_share` of them, where there are raters enough.
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
    over = over_share(approved, rater_share)
    kept = [item for item in approved if item.answer.message_id not in over]
    return kept, dropped | dict.fromkeys(over, Drop.ONE_RATER)


def judge(answer: RatedAnswer) -> Approved | Drop:
    """What its ratings alone make of an answer."""
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


def _when(rating: Rating) -> tuple[float, str]:
    return rating.created_at, rating.id
