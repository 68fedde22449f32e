"""Examples to the questions that people answered differently: nobody can learn both, and one of them may be wrong.

In: approved examples. Out: a `Contradiction` for each such question. Pure. Place in the flow: counted when a dataset is
frozen and shown by `python -m trainer disagreements`; nothing is left out for it. Does not know what makes two
questions near (`similar`) or two answers agree (`agreement`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from store.records import Example
from store.search import words_alone
from trainer.examples.agreement import agree
from trainer.examples.similar import Question, grouped, question_of


@dataclass(frozen=True)
class Contradiction:
    """A question, and the examples that answer it, not all alike; `exact` where all ask it in the same words."""

    question: str
    examples: tuple[Example, ...]
    exact: bool = True


def contradictions(examples: Sequence[Example]) -> list[Contradiction]:
    """Those of the same words first, then those of nearly the same, each in the order of the examples.

    A cluster is named once more where answers to different wordings disagree.
    """
    approved = [example for example in examples if example.approved]
    same: dict[tuple[tuple[str, str], ...], list[Example]] = defaultdict(list)
    asked: dict[Question, list[Example]] = defaultdict(list)
    for example in approved:
        same[_words(example)].append(example)
        asked[question_of(example.context)].append(example)
    groups = grouped(asked)
    near: dict[Question, list[Example]] = defaultdict(list)
    for example in approved:
        near[groups.representative[question_of(example.context)]].append(example)
    return [
        *(_named(some, True) for some in same.values() if _disagree(combinations(some, 2))),
        *(_named(some, False) for some in near.values() if _disagree(_differently_asked(some))),
    ]


def in_words(count: int) -> list[str]:
    """What a run says of so many of them; nothing of none."""
    if not count:
        return []
    some = "A question has" if count == 1 else f"{count:,} questions have"
    return [f"{some} approved answers that disagree; to see them: python -m trainer disagreements."]


def _named(examples: Sequence[Example], exact: bool) -> Contradiction:
    return Contradiction(examples[0].context[-1][1], tuple(examples), exact)


def _disagree(pairs: Iterable[tuple[Example, Example]]) -> bool:
    return any(
        one.completion != other.completion and not agree(one.completion, other.completion)
        for one, other in pairs
    )


def _differently_asked(examples: Sequence[Example]) -> Iterable[tuple[Example, Example]]:
    return ((a, b) for a, b in combinations(examples, 2) if _words(a) != _words(b))


def _words(example: Example) -> tuple[tuple[str, str], ...]:
    return tuple((str(role), words_alone(text)) for role, text in example.context)
