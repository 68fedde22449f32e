"""Answers to checks that a good mean score alone would miss. Pure.

In: the texts that a rung answered with, the approved ones. Out: guards, each with what it saw in words. Place in the
flow: under `gate`; what the adapter does to questions that nobody trained on is in `general_questions`. Does not
compare rungs or references.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from trainer.scorers import chrf
from trainer.statistics import Pairs

_LOOP = 4  # the same four words this often in a row of the answer: it turns in circles
_LENGTHS = (0.4, 2.5)  # median answer length over median approved length
# Above this share of one approved text, answering everything with it is no sign of a collapse.
_ONE_SIDED = 0.8
# How sure it must be that answers belong to their questions. Stricter than the margin's test: an adapter trained on
# shuffled corrections would pass 5 of 100 times, and answers that belong pass by far.
_BELONGING = 0.999
_OTHERS = 3  # questions whose approved answers each answer is held against

_likeness = lru_cache(maxsize=10_000)(chrf)  # labels make the same pair again and again


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
    questions passes wherever the references are no better (assay sensitivity, ICH E10, section 1.5). Likeness is chrF,
    whatever the scorer. Scores that are provably above one half and above that likeness will do as well: a judge may
    accept an answer that shares no word with the approved one.
    """
    n = len(texts)
    own = [_likeness(text, right) for text, right in zip(texts, approved, strict=True)]
    steps = sorted({1 + (n - 1) * step // _OTHERS for step in range(_OTHERS)} - {n})
    other = [
        float(np.mean([_likeness(text, approved[(at + step) % n]) for step in steps])) if steps else 0.0
        for at, text in enumerate(texts)
    ]
    proven = Pairs(own, other, clusters).rule_out(0.0, _BELONGING, 1.0)
    proven = proven or Pairs(scores, np.maximum(own, 0.5).tolist(), clusters).rule_out(0.0, _BELONGING, 1.0)
    return Guard(
        "answers that belong",
        proven,
        f"answers are {100 * float(np.mean(own)):.0f} % like the approved answer to their question, and "
        f"{100 * float(np.mean(other)):.0f} % like those to others"
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
