"""Training rows and dev rows to the best adapter of the run, by `transformers.Trainer`.

In: packed rows in the order they are stepped through, dev rows, a model directory. Out: the peft model with
the best dev loss, and the history. Place in the flow: after `dataset`, before `publish`. Does not know how
rows were rendered, what a rung is, or what becomes of the adapter.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch.utils.data import SequentialSampler
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

from trainer.lora import load_with_lora, mean_loss, to_tensors
from trainer.packing import PackedRow
from trainer.settings import TrainerSettings

Progress = Callable[[dict[str, Any]], None]


class TrainingDiverged(Exception):
    """The loss or the gradient is not a usable number; the message says at which step and what to try."""


@dataclass(frozen=True)
class Trained:
    """The best model of a run, its dev loss (nats per answer token), and what the training cost."""

    model: PeftModel
    dev_loss: float
    first_dev_loss: float
    steps: int
    tokens_per_s: float
    seconds: float
    stopped_early: bool
    history: list[dict[str, Any]] = field(default_factory=list)


def finetune(
    model_dir: Path,
    train_rows: Sequence[PackedRow],
    dev_rows: Sequence[PackedRow],
    steps_per_epoch: int,
    settings: TrainerSettings,
    work_dir: Path,
    progress: Progress,
) -> Trained:
    """Step once through `train_rows`, in order; resumes from `work_dir` when a killed run left a checkpoint.

    `progress` receives {step, steps, loss | dev_loss, tokens_per_s, eta_s}. Raises TrainingDiverged.
    """
    set_seed(settings.seed)
    model = load_with_lora(model_dir, settings.rank)
    watch = _Watch(progress, [len(row.ids) for row in train_rows])
    arguments = TrainingArguments(
        output_dir=str(work_dir),
        per_device_train_batch_size=1,  # one packed row is a batch of examples already
        per_device_eval_batch_size=1,
        num_train_epochs=1,  # the rows hold every epoch, each rendered anew
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, len(train_rows) // 20),
        weight_decay=0.0,
        neftune_noise_alpha=settings.embedding_noise or None,
        max_grad_norm=1.0,
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=steps_per_epoch,
        save_strategy="steps",
        save_steps=steps_per_epoch,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        remove_unused_columns=False,
        prediction_loss_only=True,
        label_names=["targets"],  # Trainer evaluates a loss only where it finds these
        report_to="none",
        disable_tqdm=True,
        seed=settings.seed,
        bf16=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        log_level="error",
    )
    trainer = _PackedTrainer(
        model=model,
        args=arguments,
        train_dataset=list(train_rows),
        eval_dataset=list(dev_rows),
        data_collator=lambda rows: to_tensors(rows[0]),
        callbacks=[watch, EarlyStoppingCallback(early_stopping_patience=settings.patience)],
    )
    trainer.remove_callback(PrinterCallback)
    first = _resumed_first_loss(work_dir)
    if first is None:
        first = trainer.evaluate()["eval_loss"]
        work_dir.mkdir(parents=True, exist_ok=True)
        (work_dir / "first_dev_loss.json").write_text(json.dumps(first))
    started = time.monotonic()
    checkpoint = get_last_checkpoint(str(work_dir)) if work_dir.exists() else None
    trainer.train(resume_from_checkpoint=checkpoint)
    best = trainer.state.best_metric
    if best is None or not math.isfinite(best):
        raise TrainingDiverged(
            f"The dev loss is {best} after {trainer.state.global_step} steps. Lower the learning "
            f"rate ({settings.learning_rate:g}) or look at the newest corrections."
        )
    seconds = time.monotonic() - started
    return Trained(
        model=model,
        dev_loss=float(best),
        first_dev_loss=float(first),
        steps=trainer.state.global_step,
        tokens_per_s=watch.tokens / seconds if seconds else 0.0,
        seconds=seconds,
        stopped_early=trainer.state.global_step < len(train_rows),
        history=watch.history,
    )


class _PackedTrainer(Trainer):  # type: ignore[misc]
    """Trainer over packed rows: their loss, and their order (an epoch is shuffled where rows are made)."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        loss = mean_loss(model, inputs)
        return (loss, {"loss": loss}) if return_outputs else loss

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Reports each step with rate and ETA, and stops a run whose numbers have become meaningless."""

    def __init__(self, progress: Progress, row_tokens: Sequence[int]):
        self._progress = progress
        self._row_tokens = row_tokens
        self._started = 0.0
        self._first_step = 0
        self.tokens = 0
        self.history: list[dict[str, Any]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._started, self._first_step = time.monotonic(), state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        step, steps = state.global_step, len(self._row_tokens)
        logs = logs or {}
        note: dict[str, Any] = {"step": step, "steps": steps}
        if "eval_loss" in logs:
            note["dev_loss"] = round(logs["eval_loss"], 4)
        elif "loss" in logs:
            _check(step, logs["loss"], logs.get("grad_norm"))
            self.tokens = sum(self._row_tokens[self._first_step : step])
            rate = self.tokens / max(1e-6, time.monotonic() - self._started)
            note |= {
                "loss": round(logs["loss"], 4),
                "tokens_per_s": round(rate),
                "eta_s": round(sum(self._row_tokens[step:]) / max(rate, 1e-6)),
            }
        else:
            return
        self.history.append(note)
        self._progress(note)


def _check(step: int, loss: float, gradient: float | None) -> None:
    if not math.isfinite(loss) or (gradient is not None and not math.isfinite(gradient)):
        raise TrainingDiverged(
            f"At step {step} the loss is {loss} and the gradient {gradient}. Lower the learning rate."
        )
    if gradient == 0.0 and loss > 0.01:
        raise TrainingDiverged(
            f"At step {step} the gradient is zero while the loss is {loss:.3f}: nothing is learned. "
            "Check that the model's linear layers take an adapter."
        )


def _resumed_first_loss(work_dir: Path) -> float | None:
    path = work_dir / "first_dev_loss.json"
    return float(json.loads(path.read_text())) if path.exists() else None
