"""Two answers to whether they say the same: for free text, where people say one thing in several ways.

In: two texts. Out: yes or no. Pure. Place in the flow: under `contradictions`. Does not know the question, and measures
words: that “open” and “not closed” are the same it does not see, and calls it a disagreement, for people to look at.
"""

from __future__ import annotations

import re
from collections import Counter

from store.search import words_alone
from trainer.examples.word_lists import DECIDING, LIGHT
from trainer.examples.wording import stem

# Share of their words that two answers have in common (Dice 1945) from which on they agree, if they also have the same
# numbers, negations and days. Of 2,000 pairs of sentences that two people wrote for the same facts (the televisions
# task) 78 % agree at 0.7, and of 125 pairs whose facts differ in one 4 %; at 0.6 it is 83 and 7 %, at 0.8 64 and 2 %.
# It was chosen on these same pairs. Of 151 wrong answers of the sample 5 agree with their corrections, and each of
# those says the same in other words.
SHARED = 0.7
_FEW = 4  # words; shorter answers are labels, names and numbers, where each word counts

_WORD = re.compile(r"[$€£¥%+<>=]|\d[\d.,:/]*\d|\d|[^\W\d_]+(?:'[^\W\d_]+)?")
# Words that decide what a question asks, but stand in any answer.
_WEAK = frozenset(
    [
        *(
            "up",
            "down",
            "out",
            "off",
            "over",
            "under",
            "above",
            "below",
            "before",
            "after",
            "against",
            "between",
        ),
        *(
            "more",
            "less",
            "most",
            "least",
            "all",
            "every",
            "each",
            "another",
            "other",
            "same",
            "first",
            "second",
        ),
        *("last", "next", "both", "within", "since", "until", "except"),
    ]
)


def agree(one: str, other: str) -> bool:
    """Symmetric. Short answers agree where only case, spaces and punctuation differ."""
    if words_alone(one) == words_alone(other):
        return True
    if min(len(words_alone(one).split()), len(words_alone(other).split())) <= _FEW:
        return False
    (mine, my_words), (theirs, their_words) = _parts(one), _parts(other)
    together = my_words.total() + their_words.total()
    return mine == theirs and 2 * (my_words & their_words).total() >= SHARED * max(together, 1)


def _parts(text: str) -> tuple[set[str], Counter[str]]:
    """What must be the same, and the other words that say something."""
    words: list[str] = []
    for word in _WORD.findall(text.casefold().replace("’", "'")):
        words += [word[:-3], "not"] if word.endswith("n't") else [word]
    stems = [stem(word) for word in words if word not in LIGHT]
    decides = {word for word in stems if not word.isalpha() or (word in DECIDING and word not in _WEAK)}
    return decides, Counter(word for word in stems if word not in decides)
