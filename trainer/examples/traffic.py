"""Chooses unrated answers to learn from: those of which the model was as sure as of answers that people approve.

Of 1,000 unrated Banking77 questions an adapter with demonstrations was right in 83, 75 and 66 % of its surest quarter,
half and three quarters. Trained on the surer half beside 225 approved answers, an adapter without any prompt was right
in 0.59 of the test questions; on the approved answers alone, in 0.28 to 0.32. It is self-training with a threshold on
confidence, as in Xie et al. 2020, arXiv:1911.04252.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from store.records import RatedAnswer
from trainer.examples.selection import CollectedAnswer, judge

APPROVED_SHARE = 0.7  # of the rated answers that were as sure: what makes unrated ones worth learning
ENOUGH_RATED = 10  # before their share says anything
PER_APPROVED = 3  # unrated examples for each approved one, at most


def confident_answers(
    rated: Sequence[RatedAnswer], unrated: Sequence[RatedAnswer], most: int
) -> list[RatedAnswer]:
    """The unrated answers that were sure enough, by what people say of the same deployment's; the `most` surest."""
    least = _thresholds(rated)
    sure = [
        one
        for one in unrated
        if one.mean_ln_p is not None and one.mean_ln_p >= least.get(one.deployment_id, math.inf)
    ]
    return sorted(sure, key=lambda one: (-(one.mean_ln_p or 0.0), one.message_id))[:most]


def _thresholds(rated: Iterable[RatedAnswer]) -> Mapping[int | None, float]:
    """For each deployment the mean log-probability from which on its answers are learned unrated."""
    judged: dict[int | None, list[tuple[float, bool]]] = defaultdict(list)
    for answer in rated:
        if answer.mean_ln_p is not None and answer.ratings:
            found = judge(answer)
            approved = isinstance(found, CollectedAnswer) and not found.corrected
            judged[answer.deployment_id].append((answer.mean_ln_p, approved))
    return {deployment: confidence_threshold(pairs) for deployment, pairs in judged.items()}


def confidence_threshold(judged: Iterable[tuple[float, bool]]) -> float:
    """The lowest log-probability such that of the answers at least as sure enough are rated and approved as given;
    infinite where there is none.
    """
    found, count, approved = math.inf, 0, 0
    for ln_p, same in groupby(sorted(judged, reverse=True), key=itemgetter(0)):
        said = [is_approved for _, is_approved in same]
        count, approved = count + len(said), approved + sum(said)
        if count >= ENOUGH_RATED and approved >= APPROVED_SHARE * count:
            found = ln_p
    return found
