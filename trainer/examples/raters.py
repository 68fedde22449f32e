"""Whose ratings count, and how many examples one rater may give, so that no single person decides what is learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

from store.records import RatedAnswer
from trainer.examples.records import CollectedAnswer


def exclude_raters(
    answers: Sequence[RatedAnswer], raters: Collection[str], decisions_too: bool = False
) -> tuple[list[RatedAnswer], list[str]]:
    """The answers as if these people had never rated, and the message ids that nobody else judged.

    Their decisions as reviewers stay unless `decisions_too`.
    """
    if not raters:
        return list(answers), []
    left, gone = [], []
    for answer in answers:
        ratings = tuple(rating for rating in answer.ratings if rating.rater not in raters)
        decision = answer.decision
        if decisions_too and decision and decision.reviewer in raters:
            decision = None
        if ratings or decision:
            left.append(replace(answer, ratings=ratings, decision=decision))
        else:
            gone.append(answer.message_id)
    return left, gone


def over_share(approved: Sequence[CollectedAnswer], share: float) -> set[str]:
    """Message ids of the oldest examples of each rater who would give more than `share` of all that stay.

    Nobody is over it where there are too few raters for everybody to be under it.
    """
    counts = Counter(one.rater for one in approved)
    if share >= 1 or len(counts) * share < 1:
        return set()
    most = largest_cap(list(counts.values()), share)
    staying: Counter[str] = Counter()
    over = set()
    for one in sorted(approved, key=lambda one: (one.judged_at, one.message_id), reverse=True):
        staying[one.rater] += 1
        if staying[one.rater] > most:
            over.add(one.message_id)
    return over


def largest_cap(counts: Sequence[int], share: float) -> int:
    """The most that one rater may give, so that it is at most `share` of what all of them give; at least 1."""
    low, high = 1, max(counts)
    while low < high:
        middle = (low + high + 1) // 2
        # What all give grows slower than the cap, so every cap below one that is small enough is, too.
        if middle <= share * sum(min(count, middle) for count in counts):
            low = middle
        else:
            high = middle - 1
    return low
