"""Questions to those that ask the same, and to clusters of them: without comparing every question with every other.

In: contexts of examples. Out: `Groups`: pairs with their likeness, and each question's cluster. Pure; a pair depends on
its two questions alone, the clusters on the set of questions and not on its order. Place in the flow: under `splits`,
which keeps a cluster on one side of the gate, `thinning`, which caps it, and `contradictions`. Does not know answers.

Candidates are looked up, not searched: of each question the same words in any order, the same without one word, and
the same but for one or two words that may be misspellings of each other; which words may is found by deleting a letter
from each (SymSpell, Garbe 2012). So the work grows with the number of questions, and not with its square.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from store.records import Role
from trainer.examples.wording import Wording, is_fixed, likeness, misspelled, wording

# Two questions that are at least so alike are one (docs/selection.md). 0.88 finds 81 % of planted rewordings and merges
# 0.5 % of planted questions that ask something else; 0.80 finds 0.5 points more and merges twice as many, 0.95 finds 4
# points fewer, nearly all of them typing errors, and merges 0.3 %.
NEAR = 0.88

# What a follow-up speaks of stands before it: “and how much is it?”
_REFERS = re.compile(
    r"\b(it|its|that|this|these|those|they|them|their|one|ones|there|he|him|his|she|her|same|former|latter|then)\b",
    re.I,
)
# A follow-up of fewer words that say something, what is asked for among them, is read together with what came before.
_ENOUGH_WORDS = 3
# Words; of longer questions two misspelled at once are not looked for: pairs of words grow with the square.
_SHORT = 16
# Questions that are the same but for two words; more are a pattern with two names, and no errors.
_CROWD = 300

Bag = tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """What is asked last, and what the person said before it where it cannot be understood without."""

    last: Wording
    before: tuple[Wording, ...] = ()

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.last, self.before))

    @cached_property
    def name(self) -> tuple[object, ...]:
        """To sort by; other questions have other names."""
        turns = (self.last, *self.before)
        return tuple((turn.words, sorted(turn.directed), turn.structured) for turn in turns)


@dataclass(frozen=True)
class Groups:
    """`near` has for each question those that ask the same, itself among them, with their likeness (`NEAR` to 1).

    `representative` is the one of its cluster; every member is near it, so that clusters do not grow along chains.
    """

    near: Mapping[Question, Mapping[Question, float]]
    representative: Mapping[Question, Question]

    @cached_property
    def members(self) -> Mapping[Question, list[Question]]:
        """Of each representative, in a fixed order."""
        found: dict[Question, list[Question]] = defaultdict(list)
        for question in sorted(self.representative, key=lambda question: question.name):
            found[self.representative[question]].append(question)
        return found


def question_of(context: Sequence[tuple[Role, str]]) -> Question:
    """Of (role, text) turns, oldest first, that end with what was answered.

    A follow-up that speaks for itself is the question that it would be without what came before.
    """
    asked = [text for role, text in context if role is Role.USER] or [context[-1][1]]
    last = wording(asked[-1])
    if len(asked) == 1 or (len(last.words) >= _ENOUGH_WORDS and not _REFERS.search(asked[-1])):
        return Question(last)
    return Question(last, tuple(wording(text) for text in asked[:-1]))


def question_of_text(text: str) -> Question:
    """Of a question that stands alone."""
    return Question(wording(text))


def grouped(questions: Iterable[Question]) -> Groups:
    """The clusters: the question with most neighbours represents itself and all of them that are in no cluster yet,
    then the next; of equals the one whose name comes first.
    """
    every = sorted(set(questions), key=lambda question: question.name)
    near: dict[Question, dict[Question, float]] = {question: {question: 1.0} for question in every}
    for (i, j), alike in near_questions(every).items():
        near[every[i]][every[j]] = near[every[j]][every[i]] = alike
    place = {question: number for number, question in enumerate(every)}
    representative: dict[Question, Question] = {}
    for question in sorted(every, key=lambda question: (-len(near[question]), place[question])):
        if question not in representative:
            for other in near[question]:
                representative.setdefault(other, question)
    return Groups(near, representative)


def near_questions(questions: Sequence[Question], at_least: float = NEAR) -> dict[tuple[int, int], float]:
    """Pairs (i, j), i < j, of different questions that are at least so alike, with their likeness: of a follow-up
    that of the turn that is least alike.
    """
    by_last: dict[Wording, list[int]] = defaultdict(list)
    for place, question in enumerate(questions):
        by_last[question.last].append(place)
    lasts = list(by_last)
    candidates = [*near_wordings(lasts, at_least).items(), *(((i, i), 1.0) for i in range(len(lasts)))]
    found: dict[tuple[int, int], float] = {}
    for (one, other), alike in candidates:
        for i in by_last[lasts[one]]:
            for j in by_last[lasts[other]]:
                if i < j or (one != other and i != j):
                    before = _before(questions[i], questions[j])
                    if min(alike, before) >= at_least:
                        found[min(i, j), max(i, j)] = min(alike, before)
    return found


def _before(one: Question, other: Question) -> float:
    if len(one.before) != len(other.before):
        return 0.0
    return min((likeness(a, b) for a, b in zip(one.before, other.before, strict=True)), default=1.0)


def near_wordings(items: Sequence[Wording], at_least: float = NEAR) -> dict[tuple[int, int], float]:
    """Pairs (i, j), i < j, of different wordings that are at least so alike, with their likeness."""
    by_bag: dict[Bag, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        by_bag[item.bag].append(place)
    found: dict[tuple[int, int], float] = {}
    for one, other in _candidates(by_bag, at_least):
        for i in by_bag[one]:
            for j in by_bag[other]:
                pair = (i, j) if i < j else (j, i)
                if i != j and pair not in found:
                    alike = likeness(items[i], items[j])
                    if alike >= at_least:
                        found[pair] = alike
    return found


def _candidates(bags: Collection[Bag], at_least: float) -> Iterator[tuple[Bag, Bag]]:
    """Pairs of bags: the same, without one word, and with one or two words misspelled.

    A bag without some words is looked up by the sum of the numbers of the others, which costs the same however long it
    is; that two have one sum by chance does no harm, since all pairs are compared afterwards.
    """
    words = {word for bag in bags for word in bag}
    partners, number = _partners(words), {word: hash(word) for word in words}
    totals: dict[int, list[Bag]] = defaultdict(list)
    for bag in bags:
        totals[sum(number[word] for word in bag)].append(bag)
        yield bag, bag
    singles: dict[int, dict[str, Bag]] = defaultdict(dict)
    doubles: dict[int, list[Bag]] = defaultdict(list)
    for total, same in totals.items():
        for bag in same:
            for word in set(bag):
                rest = total - number[word]
                if rest in totals and not is_fixed(word):
                    yield from ((bag, shorter) for shorter in totals[rest])
                if word in partners:
                    singles[rest][word] = bag
            if len(bag) <= _SHORT and (1 - at_least) * sum(map(len, bag)) >= 2:
                misspelt = [number[word] for word in bag if word in partners]
                for first, second in combinations(misspelt, 2):
                    doubles[total - first - second].append(bag)
    for by_word in singles.values():
        for word, bag in by_word.items():
            others = partners[word]
            for other in others if len(others) < len(by_word) else by_word:
                if word < other and other in others and other in by_word:
                    yield bag, by_word[other]
    for together in doubles.values():
        if len(together) <= _CROWD:
            yield from combinations(together, 2)


def _partners(words: Iterable[str]) -> Mapping[str, set[str]]:
    """Words that may be misspellings of each other."""
    by_rest: dict[str, list[str]] = defaultdict(list)
    for word in sorted(words):
        if len(word) >= 4 and not is_fixed(word):
            for rest in {word, *(word[:at] + word[at + 1 :] for at in range(len(word)))}:
                by_rest[rest].append(word)
    found: dict[str, set[str]] = defaultdict(set)
    for together in by_rest.values():
        for one, other in combinations(together, 2):
            if other not in found[one] and misspelled(one, other):
                found[one].add(other)
                found[other].add(one)
    return found
