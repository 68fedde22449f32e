"""Answers to checks that a good mean score alone would miss. Pure.

In: the texts that a variant answered with, the approved ones. Out: guards, each with what it saw in words. Place in the
flow: under `gate`; what the adapter does to questions that nobody trained on is in `general_questions`. Does not
compare variants or references.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz import fuzz, process

from trainer.evaluation.scorers import chrf
from trainer.evaluation.statistics import Pairs

_LOOP = 4  # the same four words this often in a row of the answer: it turns in circles
_LENGTHS = (0.4, 2.5)  # median answer length over median approved length
# Above this share of one approved text, answering everything with it is no sign of a collapse.
_ONE_SIDED = 0.8
# How sure it must be that answers belong to their questions. Stricter than the margin's test: an adapter trained on
# shuffled corrections would pass 5 of 100 times, and answers that belong pass by far.
_BELONGING = 0.9999
_ORDERS = 19_999  # random orders of the approved answers
_ROUNDING = 1e-6  # likeness is computed in 32 bits
_MOST = 200  # answers that are looked at: each is held against the approved answers to all of them


@dataclass(frozen=True)
class Guard:
    """A check that a good score alone would miss."""

    name: str
    passed: bool
    detail: str


def look(texts: Sequence[str], approved: Sequence[str]) -> tuple[Guard, ...]:
    """Length, empty, looping and always equal answers: faults that a mean score can hide."""
    ratio = float(np.median([len(t) for t in texts])) / max(1.0, float(np.median([len(t) for t in approved])))
    empty = sum(not text.strip() for text in texts)
    loops = sum(is_looping(text) for text in texts)
    few = max(1, len(texts) // 50)
    return (
        Guard(
            "length",
            _LENGTHS[0] <= ratio <= _LENGTHS[1],
            f"the median answer is {ratio:.2f} times as long as the median approved one",
        ),
        Guard("empty answers", empty <= few, f"{empty} of {len(texts)} answers are empty"),
        Guard("looping answers", loops <= few, f"{loops} of {len(texts)} answers repeat themselves"),
        _not_all_the_same(texts, approved),
    )


def answers_belong(
    texts: Sequence[str], approved: Sequence[str], clusters: Sequence[str], scores: Sequence[float]
) -> Guard:
    """Answers are more like their own approved answer than like those of other questions.

    Of two useless things neither is worse: without this, an adapter trained on corrections that belong to other
    questions passes wherever the references are no better (assay sensitivity, ICH E10, section 1.5). A permutation test
    of exactly that fault: how often approved answers in a random order are as much like the answers as in their own.
    Likeness is Indel similarity, whatever the scorer. Scores that are provably above one half and above chrF will do as
    well: a judge may accept an answer that shares no word with the approved one.
    """
    random = np.random.default_rng(0)
    some = random.permutation(len(texts))[:_MOST]
    likeness = process.cdist([texts[n] for n in some], [approved[n] for n in some], scorer=fuzz.ratio) / 100
    own, n = likeness.diagonal(), len(some)
    orders = random.permuted(np.tile(np.arange(n), (_ORDERS, 1)), axis=1)
    other = likeness[np.arange(n), orders].mean(axis=1)
    proven = bool((1 + np.sum(other >= own.mean() - _ROUNDING)) / (1 + _ORDERS) <= 1 - _BELONGING)
    if not proven:
        bar = [max(0.5, chrf(texts[n], approved[n])) for n in some]
        pairs = Pairs([scores[n] for n in some], bar, [clusters[n] for n in some])
        proven = pairs.rule_out(0.0, _BELONGING)
    return Guard(
        "answers that belong",
        proven,
        f"answers are {100 * float(own.mean()):.0f} % like the approved answer to their question, and "
        f"{100 * float(other.mean()):.0f} % like those to others"
        + ("" if proven else "; the approved answers may be mixed up, or nothing was learned"),
    )


def _not_all_the_same(texts: Sequence[str], approved: Sequence[str]) -> Guard:
    """One text to most questions, where the approved answers differ: the adapter has collapsed."""
    (text, times), (_, usual) = Counter(texts).most_common(1)[0], Counter(approved).most_common(1)[0]
    share, expected = times / len(texts), usual / len(approved)
    return Guard(
        "one answer to everything",
        expected > _ONE_SIDED or share <= (1 + expected) / 2,
        f"{times} of {len(texts)} answers are “{text.strip()[:40]}”; of the approved ones at most {usual} are alike",
    )


def is_looping(text: str) -> bool:
    """True when some four words in a row occur four times."""
    words = text.split()
    seen: dict[tuple[str, ...], int] = {}
    for start in range(len(words) - 3):
        key = tuple(words[start : start + 4])
        seen[key] = seen.get(key, 0) + 1
        if seen[key] >= _LOOP:
            return True
    return False
