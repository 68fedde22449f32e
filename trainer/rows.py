"""Examples and rungs to the packed rows of a training run: what is seen, in which order, under which prompt.

In: examples, segments, settings. Out: rows for every epoch in order, and dev rows. Pure but for the tokenizer.
Renders with `assistant.rendering`, so that what is trained is what is served.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from assistant.rendering import keep, render, render_answer
from assistant.tokenizer import ChatTokenizer
from store.records import Example, Segment
from trainer.packing import Item, PackedRow, pack
from trainer.rung_sampling import sample_rungs
from trainer.settings import TrainerSettings

CORRECTION_WEIGHT = 1.5  # a person wrote it; an approved answer was only good enough


def row_of(tokenizer: ChatTokenizer, segments: Sequence[Segment], examples: Sequence[Example]) -> PackedRow:
    """One row: these examples under one prompt."""
    return pack(
        [
            Item(
                render(tokenizer, segments, example.context).ids,
                render_answer(tokenizer, example.completion),
                CORRECTION_WEIGHT if example.corrected else 1.0,
            )
            for example in examples
        ]
    )


def train_rows(
    tokenizer: ChatTokenizer,
    segments: Sequence[Segment],
    examples: Sequence[Example],
    settings: TrainerSettings,
) -> tuple[list[PackedRow], int]:
    """Rows of all epochs in order, each epoch shuffled, and how many make an epoch."""
    size = settings.examples_per_step
    per_epoch = -(-len(examples) // size)
    rungs = sample_rungs(segments, per_epoch * settings.epochs, settings.seed)
    shuffle = random.Random(settings.seed)
    rows: list[PackedRow] = []
    for _ in range(settings.epochs):
        order = list(examples)
        shuffle.shuffle(order)
        for start in range(0, len(order), size):
            kept = keep(segments, rungs[len(rows)])
            rows.append(row_of(tokenizer, kept, order[start : start + size]))
    return rows, per_epoch


def dev_rows(
    tokenizer: ChatTokenizer, segments: Sequence[Segment], examples: Sequence[Example], size: int = 32
) -> list[PackedRow]:
    """The dev examples at both ends of the ladder: the full prompt, and the protected segments alone."""
    shortest = [segment for segment in segments if segment.protected]
    return [
        row_of(tokenizer, kept, examples[start : start + size])
        for kept in (list(segments), shortest)
        for start in range(0, len(examples), size)
    ]
