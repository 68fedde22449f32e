"""Examples and rungs to the packed rows of a training run: what is seen, in which order, under which prompt.

In: examples, segments, settings. Out: rows for every epoch in order, and dev rows. Pure but for the tokenizer.
Renders with `assistant.rendering`, so that what is trained is what is served.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from assistant.rendering import keep, render, render_answer
from assistant.tokenizer import ChatTokenizer
from store.records import Example, Segment
from trainer.learning.lessons import reading_row
from trainer.learning.packing import Item, PackedRow, TopK, pack
from trainer.learning.rung_sampling import sample_rungs
from trainer.settings import TrainerSettings

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
    size = settings.examples_per_step
    counts = epoch_sizes(len(examples), settings.epochs, settings.start_share)
    steps = sum(-(-count // size) for count in counts)
    rungs = sample_rungs(segments, steps, settings.seed, settings.longer_rungs)
    shuffle = random.Random(settings.seed)
    read = random.Random(f"{settings.seed}:reading")
    reading = reading_row(tokenizer, segments) if settings.reading > 0 else None
    practised = 0
    grown = list(examples)  # in the order in which a run that starts on a share of them takes in the rest
    if settings.start_share < 1:
        random.Random(settings.seed).shuffle(grown)
    rows: list[PackedRow] = []
    ends: list[int] = []
    for count in counts:
        order = grown[:count]
        shuffle.shuffle(order)
        for start in range(0, len(order), size):
            if reading is not None and read.random() < settings.reading:
                rows.append(reading)
            kept = keep(segments, rungs[practised])
            rows.append(row_of(tokenizer, kept, order[start : start + size], teachers))
            practised += 1
        ends.append(len(rows))
    return rows, ends


def epoch_sizes(examples: int, epochs: int, start_share: float) -> list[int]:
    """How many examples each epoch sees: `start_share` in the first, then evenly more, all by the middle of the run."""
    grows_for = epochs // 2  # none to grow in when there is but one epoch: it sees all
    shares = (
        start_share + (1 - start_share) * epoch / grows_for if epoch < grows_for else 1.0
        for epoch in range(epochs)
    )
    return [max(1, min(examples, round(share * examples))) for share in shares]


def dev_rows(
    tokenizer: ChatTokenizer,
    segments: Sequence[Segment],
    examples: Sequence[Example],
    size: int = 32,
    *,
    full: bool = True,
) -> list[PackedRow]:
    """The dev examples with the protected segments alone and, where longer prompts are practised, the `full` one."""
    shortest = [segment for segment in segments if segment.protected]
    return [
        row_of(tokenizer, kept, examples[start : start + size])
        for kept in ([list(segments)] if full else []) + [shortest]
        for start in range(0, len(examples), size)
    ]
