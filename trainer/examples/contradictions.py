"""Contradictions: questions whose approved answers disagree. Nobody can learn both, and one of them may be wrong.

Answers are compared by their words: that “open” and “not closed” say the same is not seen, and is shown to people.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations

from store.search import words_alone
from trainer.examples.selection import CollectedAnswer
from trainer.examples.similar import Groups, question_of
from trainer.examples.wording import DECIDING, LIGHT, Wording, stem, tokens, words_of

# Share of their words that two answers have in common (Dice 1945) from which on they agree, if they also have the same
# numbers, negations and days. Of 2,000 pairs of sentences that two people wrote for the same facts (the televisions
# task) 80 % agree at 0.7, and of 592 pairs whose facts differ in one 11 %.
# It was chosen on these same pairs. Of 151 wrong answers of a sample 5 agree with their corrections, and each of
# those says the same in other words.
_SHARED = 0.7
_FEW = 4  # words; shorter answers are labels, names and numbers, where each word counts

# Words that decide a question and stand in any answer.
_IN_ANY_ANSWER = words_of(
    """up down out off over under above below before after against between more less most least all every each another
    other same first second last next both within since until except"""
)


def contradictions(answers: Sequence[CollectedAnswer], groups: Groups) -> list[list[CollectedAnswer]]:
    """The approved answers to each question that has some that disagree, however it is worded, in the answers' order.

    `groups` has the questions of all of them.
    """
    asked: dict[Wording, list[CollectedAnswer]] = defaultdict(list)
    for one in answers:
        if one.approved:
            asked[groups.representative[question_of(one.context)]].append(one)
    return [
        same
        for same in asked.values()
        if any(not agree(a.completion, b.completion) for a, b in combinations(same, 2))
    ]


def agree(one: str, other: str) -> bool:
    """Whether two answers say the same. Short ones agree where only case, spaces and punctuation differ."""
    words, other_words = words_alone(one), words_alone(other)
    if words == other_words:
        return True
    if min(len(words.split()), len(other_words.split())) <= _FEW:
        return False
    (fixed, counts), (other_fixed, other_counts) = _parts(one), _parts(other)
    together = counts.total() + other_counts.total()
    return fixed == other_fixed and 2 * (counts & other_counts).total() >= _SHARED * max(together, 1)


def _parts(text: str) -> tuple[set[str], Counter[str]]:
    """What must be the same, and the other words that say something."""
    stems = [stem(word) for word in tokens(text) if word not in LIGHT]
    fixed = {
        word for word in stems if not word.isalpha() or (word in DECIDING and word not in _IN_ANY_ANSWER)
    }
    return fixed, Counter(word for word in stems if word not in fixed)
