"""Whose ratings count, and how many examples one rater may bring: so that no single person decides what is learned.

In: rated answers or approved ones. Out: the same without what does not count. Pure. Place in the flow:
around `selection`. Does not know what a rating says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from store.records import RatedAnswer

if TYPE_CHECKING:
    from trainer.examples.selection import Approved


def heard(answers: Sequence[RatedAnswer], without: Collection[str]) -> list[RatedAnswer]:
    """The answers as if these people had never rated or reviewed; what nobody else judged is left out."""
    if not without:
        return list(answers)
    left = (
        replace(
            answer,
            ratings=tuple(rating for rating in answer.ratings if rating.rater not in without),
            decision=None if answer.decision and answer.decision.reviewer in without else answer.decision,
        )
        for answer in answers
    )
    return [answer for answer in left if answer.ratings or answer.decision]


def muted(answers: Sequence[RatedAnswer], raters: Collection[str]) -> tuple[list[RatedAnswer], list[str]]:
    """The answers without these people's ratings, and the message ids of those of which nothing is left.

    What reviewers decided stays, whoever they are: a decision names a person who looked.
    """
    if not raters:
        return list(answers), []
    left, gone = [], []
    for answer in answers:
        ratings = tuple(rating for rating in answer.ratings if rating.rater not in raters)
        if ratings or answer.decision or not answer.ratings:
            left.append(replace(answer, ratings=ratings))
        else:
            gone.append(answer.message_id)
    return left, gone


def over_share(approved: Sequence[Approved], share: float) -> set[str]:
    """Message ids of the oldest examples of each rater who would have more than `share` of all that is kept.

    Nobody is over it where there are too few raters for everybody to be under it.
    """
    counts = Counter(item.rater for item in approved)
    if share >= 1 or len(counts) * share < 1:
        return set()
    most = largest_cap(list(counts.values()), share)
    newest_first = sorted(approved, key=_when, reverse=True)
    segment_ids: Counter[str] = Counter()
    over = set()
    for item in newest_first:
        segment_ids[item.rater] += 1
        if segment_ids[item.rater] > most:
            over.add(item.answer.message_id)
    return over


def largest_cap(counts: Sequence[int], share: float) -> int:
    """The most that one rater may keep, so that it is at most `share` of what all of them keep; at least 1."""
    low, high = 1, max(counts)
    while low < high:
        middle = (low + high + 1) // 2
        # What all keep grows slower than the cap, so every cap below one that is small enough is, too.
        if middle <= share * sum(min(count, middle) for count in counts):
            low = middle
        else:
            high = middle - 1
    return low


def _when(item: Approved) -> tuple[float, str]:
    rated = max(rating.created_at for rating in item.answer.ratings if rating.rater == item.rater)
    return rated, item.answer.message_id
