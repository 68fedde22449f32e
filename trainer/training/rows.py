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
from store.records import Example, Segment
from trainer.settings import TrainerSettings

# The demonstrations that each message's example is rendered with; without an entry it has none.
Shown = Mapping[str, Sequence[Demonstration]]

IGNORE = -100  # the target of a position whose prediction does not count
PREFIX = -1  # the owner of the shared tokens

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Item:
    """One example: the request's tokens, the answer's tokens (with its end token), and its weight."""

    request: Tokens
    answer: Tokens
    weight: float = 1.0


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
    # The last request token predicts the answer's first, so it stays with the example that owns the answer.
    shared = min(common_prefix([item.request for item in items]), min(len(i.request) for i in items) - 1)
    tokens = [(id, n, PREFIX, IGNORE, 0.0) for n, id in enumerate(items[0].request[:shared])]
    for owner, item in enumerate(items):
        whole = item.request + item.answer
        for n in range(shared, len(whole) - 1):
            counts = n >= len(item.request) - 1
            target, weight = (whole[n + 1], item.weight) if counts else (IGNORE, 0.0)
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


WITH_DEMONSTRATIONS = 0.25  # of the examples, in each epoch, beside themselves without any
UNRATED_WEIGHT = 0.5  # some three quarters of them are right
CORRECTION_WEIGHT = 1.5  # a person wrote it; an approved answer was only good enough


def row_of(
    tokenizer: ChatTokenizer,
    segments: Sequence[Segment],
    examples: Sequence[Example],
    shown: Shown = MappingProxyType({}),
) -> PackedRow:
    """One row: these examples under one prompt."""
    return pack(
        [
            Item(
                render(tokenizer, segments, example.context, shown.get(example.message_id, ())).ids,
                render_answer(tokenizer, example.completion),
                _weight(example),
            )
            for example in examples
        ]
    )


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

    In each epoch every example comes without demonstrations, and a quarter of them, drawn anew, with theirs too, so
    that one adapter serves both. Of the unrated ones as many as there are approved ones, drawn anew, so that an epoch
    takes at most twice as long.
    """
    shortest = [segment for segment in segments if segment.protected]
    size = settings.examples_per_step
    shuffle = random.Random(settings.seed)
    rows: list[PackedRow] = []
    ends: list[int] = []
    approved, unrated = ([e for e in examples if e.approved is said] for said in (True, False))
    for _ in range(settings.epochs):
        order = approved + shuffle.sample(unrated, min(len(unrated), len(approved)))
        shuffle.shuffle(order)
        again = [e for e in order if e.message_id in shown and shuffle.random() < WITH_DEMONSTRATIONS]
        made = [
            row_of(tokenizer, shortest, some[start : start + size], context)
            for some, context in ((order, {}), (again, shown))
            for start in range(0, len(some), size)
        ]
        shuffle.shuffle(made)
        rows += made
        ends.append(len(rows))
    return rows, ends


def dev_rows(
    tokenizer: ChatTokenizer,
    segments: Sequence[Segment],
    examples: Sequence[Example],
    shown: Shown = MappingProxyType({}),
    size: int = 32,
) -> list[PackedRow]:
    """The dev examples under the shortest prompt, the protected segments alone: without demonstrations, then with."""
    shortest = [segment for segment in segments if segment.protected]
    return [
        row_of(tokenizer, shortest, examples[start : start + size], shown=context)
        for context in ([{}, shown] if shown else [{}])
        for start in range(0, len(examples), size)
    ]
