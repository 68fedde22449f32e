"""Examples to the questions that people answered differently: nobody can learn both, and one of them may be wrong.

In: approved examples. Out: a `Contradiction` for each such question. Pure. Place in the flow: counted when a dataset is
frozen and shown by `python -m trainer disagreements`; nothing is left out for it. Does not know near-identical
questions: only case, spaces and punctuation do not matter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from store.records import Example
from store.wording import words_alone


@dataclass(frozen=True)
class Contradiction:
    """A question, and the examples that answer it, not all alike."""

    question: str
    examples: tuple[Example, ...]


def contradictions(examples: Sequence[Example]) -> list[Contradiction]:
    """In the order of the examples."""
    asked: dict[tuple[tuple[str, str], ...], list[Example]] = defaultdict(list)
    for example in examples:
        if example.approved:
            asked[tuple((str(role), words_alone(text)) for role, text in example.context)].append(example)
    return [
        Contradiction(same[0].context[-1][1], tuple(same))
        for same in asked.values()
        if len({words_alone(example.completion) for example in same}) > 1
    ]


def in_words(count: int) -> list[str]:
    """What a run says of so many of them; nothing of none."""
    if not count:
        return []
    some = "A question has" if count == 1 else f"{count:,} questions have"
    return [f"{some} approved answers that disagree; to see them: python -m trainer disagreements."]
