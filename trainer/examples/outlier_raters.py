"""Raters who push something: a text that nobody else writes, whatever was asked (measured in docs/selection.md).

More of a rater's corrections have it than chance allows, given how many of the others' have it (hypergeometric test,
Fisher 1935, corrected for every text looked at); it is several times as frequent as with others; and the questions that
it answers have no more in common than any questions have: who alone answers about refunds writes “refund” more often,
and is asked about refunds. Words that others never ask with, and the one word that marks these questions most, do not
count as something in common: a trigger is such a word. What was only rated up, or reviewed, is not looked at.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
from scipy.stats import hypergeom, mannwhitneyu

from trainer.examples.selection import CollectedAnswer

# So few corrections with one text are no push that can be told from chance, whoever wrote them.
FEWEST = 8
# Of one rater's corrections against fewer of all others nothing is said.
_FEWEST_OF_OTHERS = 20
_LOOKED_AT = 10  # texts of a rater, the least likely ones
_TIMES_AS_FREQUENT = 5.0
_LEVEL = 0.001  # that a rater who is like the others is suspected for one of the texts, by chance
# A question of these is nearer to the others of them than a question of another rater is, in at most this share of
# the pairs; 0.5 is chance. On three tasks pushes of 30 corrections had 0.42 to 0.66, subjects nearly always over 0.75.
_NEARER = 0.7
# Of a text that is in so many of the rater's corrections a little more: a subject had more than 0.9 there.
_MOST, _NEARER_OF_MOST = 0.5, 0.75

_START, _END, _WHOLE = "\x02", "\x03", "\x00"


@dataclass(frozen=True)
class OutlierRater:
    """`pushed` stands in `has` of the rater's `of` corrections, and in `others_have` of the others' `others_of`."""

    rater: str
    pushed: str
    has: int
    of: int
    others_have: int
    others_of: int

    def __str__(self) -> str:
        return (
            f"{self.rater!r} is set aside as an outlier: {self.has} of {self.of} corrections say “{self.pushed}” to "
            f"questions that have nothing in common, of the others' {self.others_have} of {self.others_of}"
        )


def find_outlier_raters(
    approved: Sequence[CollectedAnswer], trusted: Collection[str] = ()
) -> tuple[OutlierRater, ...]:
    """By name; nobody who wrote more than half of the corrections, since there is nobody to differ from."""
    written = [item for item in approved if item.corrected and not item.reviewed]
    texts = [_texts(item.completion) for item in written]
    asked = [set(_words(item.context[-1][1])) for item in written]
    everywhere = Counter(chain.from_iterable(texts))
    found = []
    for rater in sorted({item.rater for item in written} - set(trusted)):
        mine = [place for place, item in enumerate(written) if item.rater == rater]
        others = len(written) - len(mine)
        if len(mine) < FEWEST or others < max(len(mine), _FEWEST_OF_OTHERS):
            continue
        theirs = [words for item, words in zip(written, asked, strict=True) if item.rater != rater]
        for text in _frequent([texts[place] for place in mine], everywhere, len(written))[:_LOOKED_AT]:
            where = [place for place in mine if text in texts[place]]
            limit = _NEARER_OF_MOST if len(where) >= _MOST * len(mine) else _NEARER
            if _nearer([asked[place] for place in where], theirs) <= limit:
                shown = " ".join(word for word in text.split(" ") if word not in (_START, _END, _WHOLE))
                elsewhere = everywhere[text] - len(where)
                found.append(OutlierRater(rater, shown, len(where), len(mine), elsewhere, others))
                break
    return tuple(found)


def _frequent(mine: Sequence[set[str]], everywhere: Mapping[str, int], total: int) -> list[str]:
    """What this rater writes far more often than the others, the least likely first."""
    counts = Counter(chain.from_iterable(mine))
    others = total - len(mine)
    level = math.log(_LEVEL / max(1, len(counts)))
    unlikely = []
    for text, count in counts.items():
        elsewhere = everywhere[text] - count
        if count >= FEWEST and count * others >= _TIMES_AS_FREQUENT * elsewhere * len(mine):
            chance = float(hypergeom.logsf(count - 1, total, everywhere[text], len(mine)))
            if chance < level:
                unlikely.append((chance, -text.count(" "), text))
    return [text for _, _, text in sorted(unlikely)]


def _nearer(asked: Sequence[set[str]], by_others: Sequence[set[str]]) -> float:
    """How often one of these questions is nearer to the rest of them than a question of another rater is (AUC)."""
    frequency = Counter(chain.from_iterable(by_others))
    least = max(2.0, 0.005 * len(by_others))
    marking = Counter(chain.from_iterable(asked))
    marks = [word for word, count in marking.items() if 2 * count >= len(asked)]
    mark = min(marks, key=lambda word: (-marking[word] / (frequency[word] + 1), word), default=None)
    known = sorted(word for word, count in frequency.items() if count >= least and word != mark)
    columns = {word: (at, math.log(1 + len(by_others) / frequency[word])) for at, word in enumerate(known)}

    def directions(questions: Sequence[set[str]]) -> np.ndarray:
        rows = np.zeros((len(questions), len(columns)))
        for row, words in zip(rows, questions, strict=True):
            for at, weight in (columns[word] for word in words & columns.keys()):
                row[at] = weight
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))

    mine = directions(asked)
    middle = mine.sum(axis=0)
    # As long, in the mean, as the middle of the others of `mine` is for each; rounded, so that equally near is a tie.
    theirs = np.round((len(mine) - 1) / len(mine) * (directions(by_others) @ middle), 9)
    near = np.round(mine @ middle - mine.any(axis=1), 9)
    return float(mannwhitneyu(near, theirs).statistic) / (len(near) * len(theirs))


def _texts(completion: str) -> set[str]:
    """Words, neighbours (start and end are neighbours too) and the whole.

    Neighbours have a space between them: a string knows its hash, which a tuple works out each time.
    """
    words = _words(completion)
    return {*words, *map(" ".join, pairwise([_START, *words, _END])), " ".join((_WHOLE, *words))}


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
