"""Contradictions: questions whose approved answers disagree. Nobody can learn both, and one of them may be wrong.

Answers are compared by their words: that “open” and “not closed” say the same is not seen, and is shown to people.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from store.search import words_alone
from trainer.examples.records import CollectedAnswer, Context
from trainer.examples.similar import Groups, question_of
from trainer.examples.wording import DECIDING, LIGHT, Wording, stem, tokens, words_of

# Share of their words that two answers have in common (Dice 1945) from which on they agree, if they also have the same
# numbers, negations and days. Of 2,000 pairs of sentences that two people wrote for the same facts (the televisions
# task) 80 % agree at 0.7, and of 592 pairs whose facts differ in one 11 %.
# It was chosen on these same pairs. Of 151 wrong answers of the sample 5 agree with their corrections, and each of
# those says the same in other words.
_SHARED = 0.7
_FEW = 4  # words; shorter answers are labels, names and numbers, where each word counts

# Words that decide a question and stand in any answer.
_IN_ANY_ANSWER = words_of(
    """up down out off over under above below before after against between more less most least all every each another
    other same first second last next both within since until except"""
)


@dataclass(frozen=True)
class Contradiction:
    """A question, and the answers to it, not all alike; `exact` where all ask it in the same words."""

    question: str
    answers: tuple[CollectedAnswer, ...]
    exact: bool


def contradictions(answers: Sequence[CollectedAnswer], groups: Groups) -> list[Contradiction]:
    """Those of the same words first, then groups where answers to different wordings disagree, in the answers' order.

    `groups` has the questions of all of them.
    """
    same: dict[Context, list[CollectedAnswer]] = defaultdict(list)
    near: dict[Wording, list[CollectedAnswer]] = defaultdict(list)
    for one in answers:
        if one.approved:
            same[_words(one)].append(one)
            near[groups.representative[question_of(one.context)]].append(one)
    found = []
    for exact, groups_of_answers in ((True, same.values()), (False, near.values())):
        for some in groups_of_answers:
            pairs = ((a, b) for a, b in combinations(some, 2) if exact or _words(a) != _words(b))
            if any(not agree(a.completion, b.completion) for a, b in pairs):
                found.append(Contradiction(some[0].context[-1][1], tuple(some), exact))
    return found


def contradiction_remarks(count: int) -> list[str]:
    """What a run says of so many of them; nothing of none."""
    if not count:
        return []
    some = "A question has" if count == 1 else f"{count:,} questions have"
    return [f"{some} approved answers that disagree; to see them: python -m trainer disagreements."]


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


def _words(answer: CollectedAnswer) -> Context:
    return tuple((role, words_alone(text)) for role, text in answer.context)


def _parts(text: str) -> tuple[set[str], Counter[str]]:
    """What must be the same, and the other words that say something."""
    stems = [stem(word) for word in tokens(text) if word not in LIGHT]
    fixed = {
        word for word in stems if not word.isalpha() or (word in DECIDING and word not in _IN_ANY_ANSWER)
    }
    return fixed, Counter(word for word in stems if word not in fixed)
