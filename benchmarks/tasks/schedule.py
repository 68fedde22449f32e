"""A task, a budget and a seed to which question is asked in which round, and which ones measure. Pure.

In: items, counts, a seed. Out: a list of questions for each round, a sample of test items. The same every time, so
that a run that is taken up again knows what it has done. Does not know what is done with them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.tasks.task import Item


@dataclass(frozen=True)
class Question:
    """An item to ask, in a conversation of its own whose id is made from the item's."""

    conversation_id: str
    item: Item


def rounds_of(
    train: Sequence[Item], ratings: int, rounds: int, seed: int, assistant_id: str
) -> list[list[Question]]:
    """`ratings` questions in a seeded order, spread evenly; none comes again before all have been asked."""
    shuffle = random.Random(f"{seed}:train")
    questions: list[Question] = []
    turn = 0
    while len(questions) < ratings:
        turn += 1
        order = list(train)
        shuffle.shuffle(order)
        questions += [Question(f"{assistant_id}/{turn}/{item.id}", item) for item in order]
    ends = [ratings * number // rounds for number in range(rounds + 1)]
    return [questions[start:end] for start, end in zip(ends, ends[1:], strict=False)]


def sample_of(test: Sequence[Item], size: int, seed: int) -> list[Item]:
    """`size` test items, in the file's order; all of them where there are not more."""
    if size >= len(test):
        return list(test)
    chosen = sorted(random.Random(f"{seed}:test").sample(range(len(test)), size))
    return [test[number] for number in chosen]
