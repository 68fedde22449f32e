"""Training in bfloat16 beside float32 on this machine: seconds a step, and the dev loss that each reaches.

In: a task file, whose questions and references are the examples. Out: a table, and JSON with provenance. Steps are
timed in turn on the same row; then each precision trains on the same examples from the same seed.

    python -m benchmarks.precision --task shared/tasks/banking77.json --out benchmarks/results/precision.json
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import typer

from assistant.tokenizer import ChatTokenizer
from benchmarks.records import result_file
from benchmarks.records.command import command_line, fail
from benchmarks.records.provenance import provenance
from benchmarks.records.screen import Screen
from benchmarks.tasks.task import Item, TaskError, load
from store.records import Example, Role, Split
from trainer.embedded import NAME, convert
from trainer.learning.finetune import Course, finetune
from trainer.learning.lora import load_with_lora, mean_loss, to_tensors
from trainer.learning.precision import Precision, native
from trainer.learning.rows import dev_rows, row_of, train_rows
from trainer.settings import TrainerSettings

_DEV = 40


def main(
    task: Annotated[Path, typer.Option(help="A task file.")],
    examples: Annotated[int, typer.Option(min=8, help="Trained on; 40 more measure dev.")] = 120,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 4,
    repeats: Annotated[int, typer.Option(min=3, help="Timed steps of each precision.")] = 9,
    seed: Annotated[int, typer.Option(help="Of the adapter and of the order.")] = 1,
    model: Annotated[Path | None, typer.Option(help="A model directory; default: the embedded one.")] = None,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the result.")] = None,
) -> None:
    """Time steps in turn, then train twice.

    Example: python -m benchmarks.precision --task shared/tasks/banking77.json --out benchmarks/results/precision.json
    """
    try:
        loaded = load(task)
    except (TaskError, OSError) as error:
        fail(str(error))
    if len(loaded.train) < examples + _DEV:
        fail(
            f"{task} has {len(loaded.train)} training questions; {examples} examples and {_DEV} of dev need more."
        )
    screen = Screen()
    with TemporaryDirectory() as folder:
        model_dir = model or Path(folder) / NAME
        if model is None:
            convert(model_dir)
        tokenizer = ChatTokenizer.load(model_dir)
        settings = TrainerSettings(seed=seed, epochs=epochs, patience=epochs)
        learned = _examples(loaded.train[:examples], Split.TRAIN)
        held_out = _examples(loaded.train[examples : examples + _DEV], Split.DEV)
        rows, ends = train_rows(tokenizer, loaded.prompt, learned, settings)
        dev = dev_rows(tokenizer, loaded.prompt, held_out, full=False)
        result: dict[str, Any] = {"benchmark": "precision", "native": native(), "steps": [], "trainings": {}}
        # The rows of a run, and the same examples under the whole prompt, which a step reads when longer rungs are
        # practised.
        for name, row in (
            ("no prompt", row_of(tokenizer, [], learned[:8])),
            ("full prompt", row_of(tokenizer, loaded.prompt, learned[:8])),
        ):
            result["steps"].append(_steps(model_dir, to_tensors(row), name, repeats, screen))
        for precision in Precision:
            with screen.status(f"training in {precision}") as note:
                course = Course(
                    model_dir,
                    rows,
                    ends,
                    dev,
                    settings.learning_rates[0],
                    settings,
                    Path(folder) / precision,
                    precision=precision,
                )
                trained = finetune(
                    course, lambda told, note=note: note(f"step {told['step']} of {told['steps']}")
                )
            result["trainings"][precision] = {
                "dev_losses": [epoch.dev_loss for epoch in trained.curve.epochs],
                "seconds": round(trained.seconds, 1),
                "tokens_per_s": round(trained.tokens_per_s),
            }
            screen.say(
                f"{precision}: {trained.tokens_per_s:.0f} tokens/s, dev loss after each epoch "
                + ", ".join(f"{epoch.dev_loss:.3f}" for epoch in trained.curve.epochs)
            )
    result["task"] = result_file.task_record(loaded)
    result["provenance"] = provenance(command_line("benchmarks.precision"), seed=seed)
    if out is not None:
        result_file.write(out, result)


def _examples(items: Sequence[Item], split: Split) -> list[Example]:
    return [
        Example(
            message_id=item.id,
            conversation_id=item.id,
            context=((Role.USER, item.user),),
            completion=item.references[0],
            corrected=False,
            split=split,
            rater="benchmark",
        )
        for item in items
    ]


def _steps(
    model_dir: Path, tensors: dict[str, torch.Tensor], name: str, repeats: int, screen: Screen
) -> dict[str, Any]:
    """Seconds of forward and backward passes, one precision after the other."""
    model = load_with_lora(model_dir, TrainerSettings().rank)
    times: dict[str, list[float]] = {precision: [] for precision in Precision}
    for _ in range(repeats + 1):
        for precision, found in times.items():
            started = time.perf_counter()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == Precision.HALF):
                loss = mean_loss(model, tensors)
            loss.backward()
            model.zero_grad()
            found.append(time.perf_counter() - started)
    single, half = (found[1:] for found in times.values())  # the first of each is slower: memory is new
    ratios = [a / b for a, b in zip(single, half, strict=True)]
    row = {
        "row": name,
        "tokens": tensors["input_ids"].shape[1],
        "float32_s": round(statistics.median(single), 3),
        "bfloat16_s": round(statistics.median(half), 3),
        "ratio": round(statistics.median(ratios), 2),
        "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
    }
    screen.say(
        f"a step of {row['tokens']} tokens, {name}: {row['float32_s']} s in float32, {row['bfloat16_s']} s in "
        f"bfloat16, {row['ratio']} times as fast ({row['ratio_range'][0]}-{row['ratio_range'][1]})"
    )
    return row


if __name__ == "__main__":
    typer.run(main)
