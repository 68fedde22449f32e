"""Packs examples under one prompt into rows, and orders the rows of a training run.

The tokens of the prompt are stored once in a row. Every example sees the shared prefix and itself, at the positions
that it has when served, so the losses equal those of separate rows; 8 questions under an 850-token prompt are one row
of 1,200 tokens instead of 7,200, and nothing is padding. The idea is prefix sharing as in Hydragen (Juravsky et al.
2024, arXiv:2402.05099), used for training. What is trained is rendered as it is served.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from assistant.rendering import render, render_answer
from assistant.tokenizer import ChatTokenizer
from store.demonstrations import Demonstration
from store.records import Example, Role, Segment
from trainer.settings import TrainerSettings

# The demonstrations that each message's example is rendered with; without an entry it has none.
Shown = Mapping[str, Sequence[Demonstration]]

IGNORE = -100  # the target of a position whose prediction does not count
PREFIX = -1  # the owner of the shared tokens

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Item:
    """One example: the request's tokens, the answer's tokens (with its end token), and its weight.

    `earlier` are the positions of answers within the request, which are learned with it.
    """

    request: Tokens
    answer: Tokens
    weight: float = 1.0
    earlier: Sequence[range] = ()

    @property
    def learned(self) -> list[range]:
        """The positions of all tokens that are learned."""
        return [*self.earlier, range(len(self.request), len(self.request) + len(self.answer))]


@dataclass(frozen=True)
class PackedRow:
    """Parallel lists, one entry a token: `targets[i]` is the token that follows position i in its example."""

    ids: list[int]
    positions: list[int]
    owners: list[int]
    targets: list[int]
    weights: list[float]


def pack(items: Sequence[Item]) -> PackedRow:
    """Pack examples into one row; the longest common start of their requests is stored once."""
    # The token before an answer predicts its first, so it stays with the example that owns the answer.
    first = min(item.learned[0].start for item in items)
    shared = min(common_prefix([item.request for item in items]), first - 1)
    tokens = [(id, n, PREFIX, IGNORE, 0.0) for n, id in enumerate(items[0].request[:shared])]
    for owner, item in enumerate(items):
        whole, learned = item.request + item.answer, {n for span in item.learned for n in span}
        for n in range(shared, len(whole) - 1):
            target, weight = (whole[n + 1], item.weight) if n + 1 in learned else (IGNORE, 0.0)
            tokens.append((whole[n], n, owner, target, weight))
    ids, positions, owners, targets, weights = (list(column) for column in zip(*tokens, strict=True))
    return PackedRow(ids, positions, owners, targets, weights)


def common_prefix(sequences: Sequence[Tokens]) -> int:
    """How many leading tokens all sequences share."""
    low, high = min(sequences), max(sequences)  # the extremes in sorted order differ first
    length = 0
    for a, b in zip(low, high, strict=False):
        if a != b:
            break
        length += 1
    return length


WITH_DEMONSTRATIONS = 1 / 12  # of the examples, in each epoch, beside themselves without any
UNRATED_WEIGHT = 0.5  # some three quarters of them are right
CORRECTION_WEIGHT = 1.5  # a person wrote it; an approved answer was only good enough


def row_of(
    tokenizer: ChatTokenizer,
    segments: Sequence[Segment],
    examples: Sequence[Example],
    shown: Shown = MappingProxyType({}),
    all_answers: bool = False,
) -> PackedRow:
    """One row: these examples under one prompt, learned with their demonstrations' answers where `all_answers`."""
    items = []
    for example in examples:
        demonstrations = shown.get(example.message_id, ())
        request = render(tokenizer, segments, example.context, demonstrations).ids
        earlier = _answers(tokenizer, segments, demonstrations, request) if all_answers else ()
        items.append(Item(request, render_answer(tokenizer, example.completion), _weight(example), earlier))
    return pack(items)


def _answers(
    tokenizer: ChatTokenizer, segments: Sequence[Segment], shown: Sequence[Demonstration], request: Tokens
) -> list[range]:
    """Where the demonstrations' answers are in a request that begins as theirs did, with those before as
    demonstrations. A template may render an earlier turn in another way than it was served: such a one is left out.
    """
    found = []
    for n, one in enumerate(shown):
        asked = render(tokenizer, segments, ((Role.USER, one.question),), shown[:n]).ids
        answer = render_answer(tokenizer, one.answer)
        if request[: len(asked) + len(answer)] == asked + answer:
            found.append(range(len(asked), len(asked) + len(answer)))
    return found


def _weight(example: Example) -> float:
    if not example.approved:
        return UNRATED_WEIGHT
    return CORRECTION_WEIGHT if example.corrected else 1.0


def train_rows(
    tokenizer: ChatTokenizer,
    segments: Sequence[Segment],
    examples: Sequence[Example],
    settings: TrainerSettings,
    shown: Shown = MappingProxyType({}),
) -> tuple[list[PackedRow], list[int]]:
    """Rows of all epochs in order, each epoch shuffled, and after how many rows each epoch ends.

    In each epoch every example comes without demonstrations, and a twelfth of them, drawn anew, with theirs too, so
    that one adapter serves both. Of the unrated ones as many as there are approved ones, drawn anew, so that an epoch
    takes at most twice as long.
    """
    shortest = [segment for segment in segments if segment.protected]
    size = settings.examples_per_step
    few = max(1, size // 4)  # each brings up to five answers more
    shuffle = random.Random(settings.seed)
    rows: list[PackedRow] = []
    ends: list[int] = []
    approved, unrated = ([e for e in examples if e.approved is said] for said in (True, False))
    for _ in range(settings.epochs):
        order = approved + shuffle.sample(unrated, min(len(unrated), len(approved)))
        shuffle.shuffle(order)
        again = [e for e in order if e.message_id in shown and shuffle.random() < WITH_DEMONSTRATIONS]
        made = [
            row_of(tokenizer, shortest, order[start : start + size]) for start in range(0, len(order), size)
        ]
        made += [
            row_of(tokenizer, shortest, again[start : start + few], shown, all_answers=True)
            for start in range(0, len(again), few)
        ]
        shuffle.shuffle(made)
        rows += made
        ends.append(len(rows))
    return rows, ends


def dev_rows(
    tokenizer: ChatTokenizer, segments: Sequence[Segment], examples: Sequence[Example], size: int = 8
) -> list[PackedRow]:
    """The dev examples under the shortest prompt, the protected segments alone, without demonstrations.

    A row has at most `size` of them: thirty of the sample take 5.1 s in one row, and 3.4 in rows of eight.
    """
    shortest = [segment for segment in segments if segment.protected]
    return [
        row_of(tokenizer, shortest, examples[start : start + size]) for start in range(0, len(examples), size)
    ]
