"""Finds questions that ask the same, and clusters of them, without comparing every question with every other."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

from store.records import Role
from trainer.examples.wording import Wording, is_fixed, misspelled, near, wording

# What a follow-up speaks of stands before it: “and how much is it?”
_REFERS = re.compile(
    r"\b(it|its|that|this|these|those|they|them|their|one|ones|there|he|him|his|she|her|same|former|latter|then)\b",
    re.I,
)
_ENOUGH_WORDS = 3  # a follow-up of fewer words is read together with what came before


@dataclass(frozen=True)
class Groups:
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


def grouped(questions: Iterable[Wording]) -> Groups:
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
    return Groups(found, representative)


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
