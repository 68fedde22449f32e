"""Finds questions that ask the same, clusters of them, and contradictions: approved answers to one that disagree.

Answers are compared by their words: that “open” and “not closed” say the same is not seen, and is shown to people.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

from store.records import Role
from store.search import words_alone
from trainer.examples.selection import CollectedAnswer
from trainer.examples.wording import (
    DECIDING,
    LIGHT,
    Wording,
    is_fixed,
    misspelled,
    near,
    stem,
    tokens,
    wording,
    words_of,
)

# What a follow-up speaks of stands before it: “and how much is it?”
_REFERS = re.compile(
    r"\b(it|its|that|this|these|those|they|them|their|one|ones|there|he|him|his|she|her|same|former|latter|then)\b",
    re.I,
)
_ENOUGH_WORDS = 3  # a follow-up of fewer words is read together with what came before

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


@dataclass(frozen=True)
class QuestionGroups:
    """`near` has for each question those that ask the same, itself among them.

    `representative` is the one of its cluster; every member is near it, so that clusters do not grow along chains.
    """

    near: Mapping[Wording, set[Wording]]
    representative: Mapping[Wording, Wording]


def is_understood_alone(context: Sequence[tuple[Role, str]]) -> bool:
    """Whether the last of (role, text) turns can be understood without those before it."""
    if sum(role is Role.USER for role, _ in context) <= 1:
        return True
    text = context[-1][1]
    return len(wording(text).words) >= _ENOUGH_WORDS and not _REFERS.search(text)


def question_of(context: Sequence[tuple[Role, str]]) -> Wording:
    """Of (role, text) turns, oldest first, that end with what was answered.

    A follow-up that speaks for itself is the question that it would be without what came before.
    """
    if is_understood_alone(context):
        return wording(context[-1][1])
    asked = [text for role, text in context if role is Role.USER]
    turns = [wording(text) for text in asked]
    return Wording(
        tuple(sorted(chain.from_iterable(turn.words for turn in turns))),
        tuple(sorted({each for turn in turns for each in turn.directed})),
    )


def grouped(questions: Iterable[Wording]) -> QuestionGroups:
    """The clusters: the question with most neighbours represents itself and all of them that are in no cluster yet,
    then the next; of equals the one that comes first in order.
    """
    every = sorted(set(questions))
    found: dict[Wording, set[Wording]] = {question: {question} for question in every}
    for one, other in near_pairs(every):
        found[one].add(other)
        found[other].add(one)
    representative: dict[Wording, Wording] = {}
    for question in sorted(every, key=lambda question: -len(found[question])):
        if question not in representative:
            for other in found[question]:
                representative.setdefault(other, question)
    return QuestionGroups(found, representative)


def near_pairs(questions: Collection[Wording]) -> Iterator[tuple[Wording, Wording]]:
    """Pairs of different questions that are one, some of them twice."""
    by_words: dict[tuple[str, ...], list[Wording]] = defaultdict(list)
    for question in questions:
        by_words[question.words].append(question)
    partners = _partners({word for words in by_words for word in words})
    for words, same in by_words.items():
        others = (other for changed in _misspellings(words, partners) for other in by_words.get(changed, ()))
        for one, other in chain(combinations(same, 2), ((one, other) for other in others for one in same)):
            if near(one, other):
                yield one, other


def _misspellings(words: tuple[str, ...], partners: Mapping[str, set[str]]) -> Iterator[tuple[str, ...]]:
    """The bags with one word instead of one that may be a misspelling of it."""
    for at, word in enumerate(words):
        for other in partners.get(word, ()):
            yield tuple(sorted((*words[:at], other, *words[at + 1 :])))


def _partners(words: Iterable[str]) -> Mapping[str, set[str]]:
    """Words that may be misspellings of each other: such words are alike without one letter (SymSpell, Garbe 2012)."""
    by_rest: dict[str, list[str]] = defaultdict(list)
    for word in words:
        if len(word) >= 4 and not is_fixed(word):
            for rest in {word, *(word[:at] + word[at + 1 :] for at in range(len(word)))}:
                by_rest[rest].append(word)
    found: dict[str, set[str]] = defaultdict(set)
    for together in by_rest.values():
        for one, other in combinations(together, 2):
            if misspelled(one, other):
                found[one].add(other)
                found[other].add(one)
    return found


def contradictions(answers: Sequence[CollectedAnswer], groups: QuestionGroups) -> list[list[CollectedAnswer]]:
    """The approved answers to each question that has some that disagree, however it is worded, in the answers' order.

    `groups` has the questions of all of them.
    """
    asked: dict[Wording, list[CollectedAnswer]] = defaultdict(list)
    for one in answers:
        if one.approved:
            asked[groups.representative[question_of(one.context)]].append(one)

    def disagree(same: Sequence[CollectedAnswer]) -> bool:
        return any(not agree(a.completion, b.completion) for a, b in combinations(same, 2))

    return [same for same in asked.values() if disagree(same)]


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
