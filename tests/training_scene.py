"""A short job on the tiny model: examples of colours, the settings, and what it becomes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from assistant.tokenizer import ChatTokenizer
from store.records import Example, Role, Segment, SegmentKind, Split
from trainer.settings import TrainerSettings
from trainer.training.finetune import Trained, TrainingJob, finetune
from trainer.training.rows import dev_rows, train_rows

PROMPT = (
    Segment("role", SegmentKind.INSTRUCTION, text="Answer with one word."),
    Segment("law", SegmentKind.INSTRUCTION, text="Be helpful.", protected=True),
)
COLOURS = ("red", "green", "blue", "yellow")
QUICK = TrainerSettings(epochs=3, learning_rate=2e-2, rank=4, examples_per_step=4)


def examples(count: int, split: Split = Split.TRAIN) -> list[Example]:
    return [
        Example(f"m{n}", f"c{n}", ((Role.USER, f"colour number {n}"),), COLOURS[n % 2], n % 3 == 0, split)
        for n in range(count)
    ]


def train(
    model: Path,
    tokenizer: ChatTokenizer,
    work: Path,
    wanted: TrainerSettings = QUICK,
    progress: list[dict[str, Any]] | None = None,
    spoil: bool = False,
    dev: Sequence[Example] = (),
) -> Trained:
    rows, ends = train_rows(tokenizer, PROMPT, examples(16), wanted)
    if spoil:  # as a corrupted example would
        rows = [replace(row, weights=[float("nan")] * len(row.weights)) for row in rows]
    measured = dev_rows(tokenizer, PROMPT, dev or examples(4, Split.DEV))
    seen = progress if progress is not None else []
    return finetune(TrainingJob(model, rows, ends, measured, wanted, work), seen.append)
