"""Examples and variants to the packed rows of a training run: what is seen, in which order, under which prompt.

In: examples, segments, settings. Out: rows for every epoch in order, and dev rows. Pure but for the tokenizer.
Renders with `assistant.rendering`, so that what is trained is what is served.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from assistant.rendering import render, render_answer
from assistant.tokenizer import ChatTokenizer
from store.records import Example, Segment
from trainer.settings import TrainerSettings
from trainer.training.packing import Item, PackedRow, TopK, pack

CORRECTION_WEIGHT = 1.5  # a person wrote it; an approved answer was only good enough


def row_of(
    tokenizer: ChatTokenizer,
    segments: Sequence[Segment],
    examples: Sequence[Example],
    teachers: Mapping[str, TopK] = MappingProxyType({}),
) -> PackedRow:
    """One row: these examples under one prompt; `teachers` says what each message's teacher thinks, if it has one."""
    return pack(
        [
            Item(
                render(tokenizer, segments, example.context).ids,
                render_answer(tokenizer, example.completion),
                _weight(example),
                teachers.get(example.message_id),
            )
            for example in examples
        ]
    )


def _weight(example: Example) -> float:
    if not example.approved:  # only its teacher counts
        return 0.0
    return CORRECTION_WEIGHT if example.corrected else 1.0


def train_rows(
    tokenizer: ChatTokenizer,
    segments: Sequence[Segment],
    examples: Sequence[Example],
    settings: TrainerSettings,
    teachers: Mapping[str, TopK] = MappingProxyType({}),
) -> tuple[list[PackedRow], list[int]]:
    """Rows of all epochs in order, each epoch shuffled, and after how many rows each epoch ends."""
    shortest = [segment for segment in segments if segment.protected]
    size = settings.examples_per_step
    shuffle = random.Random(settings.seed)
    rows: list[PackedRow] = []
    ends: list[int] = []
    for _ in range(settings.epochs):
        order = list(examples)
        shuffle.shuffle(order)
        rows += [
            row_of(tokenizer, shortest, order[start : start + size], teachers)
            for start in range(0, len(order), size)
        ]
        ends.append(len(rows))
    return rows, ends


def dev_rows(
    tokenizer: ChatTokenizer, segments: Sequence[Segment], examples: Sequence[Example], size: int = 32
) -> list[PackedRow]:
    """The dev examples under the shortest prompt: the protected segments alone."""
    shortest = [segment for segment in segments if segment.protected]
    return [
        row_of(tokenizer, shortest, examples[start : start + size]) for start in range(0, len(examples), size)
    ]
