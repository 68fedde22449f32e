"""Trains an adapter on packed rows with `transformers.Trainer`, to the end of the last epoch.

The same job gives the same losses, to the last bit on CPU with the same number of threads: seeds cover the adapter's
start and the noise, and a checkpoint holds the state of the random generators.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from trainer.settings import TrainerSettings
from trainer.training import checkpoints, distributed
from trainer.training.checkpoints import saving_below
from trainer.training.environment import Precision, native
from trainer.training.fused import fused_layers
from trainer.training.lora import learning_rate, load_with_lora, mean_loss, to_tensors
from trainer.training.rows import PackedRow, Shown

Progress = Callable[[dict[str, Any]], None]
Log = Sequence[Mapping[str, Any]]  # as Trainer keeps it: losses of steps, and dev losses at the end of epochs

# A checkpoint of the 135M model's adapter takes 0.1 s; a kill costs a minute of work at most.
_SAVE_EVERY_S = 60.0
# From this size on a GPU computes activations twice (a third more time) rather than keep those of a packed row of
# thousands of tokens, which for 8B would need some 20 GiB beside the weights.
_BIG = 1_000_000_000
_SHORT_ROW = 512  # tokens; plain products keep the weight of every pair of tokens, in each layer


class TrainingDiverged(Exception):
    """The loss or the gradient is not a usable number; the message says at which step and what to try."""


@dataclass(frozen=True)
class TrainingJob:
    """What is trained on, in order. `epoch_ends` are row counts; each row is one step of one process."""

    model_dir: Path
    rows: Sequence[PackedRow]
    epoch_ends: Sequence[int]
    dev_rows: Sequence[PackedRow]
    settings: TrainerSettings
    work_dir: Path
    precision: Precision = field(default_factory=native)
    shown: Shown = field(default_factory=dict)  # the demonstrations of each example, as the rows have them


@dataclass(frozen=True)
class Trained:
    """The model with its dev losses (nats per answer token) before and after, the log, and what the training cost.

    `log` and `steps` cover the whole run, `seconds` and `tokens_per_s` what of it was trained since `resumed_at`.
    """

    model: Any
    log: Log
    learning_rate: float
    steps: int
    seconds: float
    tokens_per_s: float
    resumed_at: int
    first_dev_loss: float
    dev_loss: float

    def as_record(self) -> dict[str, Any]:
        """Plain JSON values for the run's report."""
        return {name: value for name, value in vars(self).items() if name not in ("model", "log")}


def finetune(job: TrainingJob, progress: Progress) -> Trained:
    """An adapter, trained by one pass over the rows; goes on from the last checkpoint when a killed run left one.

    `progress` receives {step, steps, loss | dev_loss, tokens_per_s, eta_s}. Of several processes rank 0 calls this
    while the others are in `run_worker`; each trains on rows of its own. Raises TrainingDiverged.
    """
    return _train_adapter(distributed.broadcast(job), progress)


def run_worker() -> None:
    """Take part in what rank 0 trains, until it says that there is no more (`distributed.shut_down`)."""
    nothing: TrainingJob | None = None
    while (job := distributed.broadcast(nothing)) is not None:
        try:
            _train_adapter(job, lambda _: None)
        except TrainingDiverged:  # rank 0 sees the same numbers, and knows what to do about them
            continue


def _train_adapter(job: TrainingJob, progress: Progress) -> Trained:
    settings, work_dir = job.settings, job.work_dir
    set_seed(settings.seed)
    model = load_with_lora(job.model_dir, settings.rank)
    callback = _RunCallback(job, progress)
    trainer = _PackedTrainer(
        model=model,
        args=_arguments(job, model, callback.steps),
        train_dataset=list(job.rows),
        eval_dataset=list(job.dev_rows),
        data_collator=lambda rows: to_tensors(rows[0]),
        callbacks=[callback],
    )
    trainer.remove_callback(PrinterCallback)
    if distributed.rank() == 0:
        checkpoints.drop_incomplete(work_dir)
    # Asked at rank 0 for all: every process has to go the same way.
    resumed = distributed.broadcast(checkpoints.last_checkpoint(work_dir))
    trainer.args.eval_on_start = resumed is None
    started = time.monotonic()
    if resumed is None or resumed.step < resumed.steps:
        with _layers(model, job.precision):
            trainer.train(resume_from_checkpoint=str(resumed.path) if resumed else None)
    last = distributed.broadcast(checkpoints.last_checkpoint(work_dir))
    dev = [entry["eval_loss"] for entry in last.log if "eval_loss" in entry] if last else []
    if last is None or not all(map(math.isfinite, dev)):  # the first one is before any training
        raise TrainingDiverged(
            f"The dev losses are {dev} after {trainer.state.global_step} steps. Lower the learning "
            f"rate ({trainer.args.learning_rate:g}) or look at the newest corrections."
        )
    model.load_adapter(str(last.path), model.active_adapter)
    distributed.barrier()  # rank 0 removes the checkpoints next, which the others may still be reading
    seconds = time.monotonic() - started
    # Accelerate leaves its autocast around `forward`; what is compared with the server is computed without.
    for name in ("forward", "_original_forward"):
        model.__dict__.pop(name, None)
    return Trained(
        model=model,
        log=last.log,
        learning_rate=trainer.args.learning_rate,
        steps=last.step,
        seconds=round(seconds, 1),
        tokens_per_s=round(callback.tokens / max(seconds, 1e-6)),
        resumed_at=resumed.step if resumed else 0,
        first_dev_loss=dev[0],
        dev_loss=dev[-1],
    )


def _layers(model: Any, precision: Precision) -> AbstractContextManager[None]:
    """Fused ones in bfloat16 on a CPU: a GPU has its weights in bfloat16 anyway, and float32 gains nothing."""
    is_fused = precision is Precision.HALF and not torch.cuda.is_available()
    return fused_layers(model, torch.bfloat16) if is_fused else nullcontext()


def _arguments(job: TrainingJob, model: Any, steps: int) -> TrainingArguments:
    cuda = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(job.work_dir),
        per_device_train_batch_size=1,  # one packed row is a batch of examples already
        per_device_eval_batch_size=1,
        num_train_epochs=1,  # the rows hold every epoch, each rendered anew
        learning_rate=learning_rate(job.settings, model.config),
        lr_scheduler_type="cosine",
        warmup_steps=max(1, steps // 20),
        neftune_noise_alpha=job.settings.embedding_noise or None,
        logging_steps=1,
        logging_nan_inf_filter=False,  # it would report a loss that is no number as the mean of earlier ones
        eval_strategy="steps",  # at the end of every epoch and no oftener: _RunCallback asks for it
        eval_steps=steps,
        save_strategy="steps",
        save_steps=steps,
        save_total_limit=2,  # a kill may cut the last one short
        remove_unused_columns=False,
        prediction_loss_only=True,
        label_names=["targets"],  # Trainer evaluates a loss only where it finds these
        report_to="none",
        disable_tqdm=True,
        seed=job.settings.seed,
        bf16=job.precision is Precision.HALF,
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
        gradient_checkpointing=_is_short_of_memory(model),
        gradient_checkpointing_kwargs={"use_reentrant": False},
        ddp_find_unused_parameters=False,
        # No buffer changes, and a row may take one forward pass on one process and eight on another.
        ddp_broadcast_buffers=False,
        log_level="error",
    )
    # One process uses one GPU. Trainer would take every GPU it sees into one process and hand the collator as many
    # rows at once, of which it packs the first. Several GPUs are for `accelerate launch`, a process each.
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


def _is_short_of_memory(model: Any) -> bool:
    return torch.cuda.is_available() and model.num_parameters() >= _BIG


class _PackedTrainer(Trainer):
    """Trainer over packed rows: their loss, and their order (an epoch is shuffled where rows are made).

    A checkpoint that could not be written is an OSError.
    """

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        with self._attention(len(inputs["owners"])) if model.training else nullcontext():
            loss = mean_loss(model, inputs)
        return (loss, {"loss": loss}) if return_outputs else loss

    def _attention(self, tokens: int) -> AbstractContextManager[None]:
        """Of short rows on a CPU by plain products: with torch's own a step takes a tenth longer."""
        is_short = self.args.use_cpu and not self.args.gradient_checkpointing and tokens <= _SHORT_ROW
        context: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH) if is_short else nullcontext()
        return context

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)

    def _save_checkpoint(self, *values: Any) -> None:
        with saving_below(Path(self.args.output_dir)):
            super()._save_checkpoint(*values)


class _RunCallback(TrainerCallback):
    """Says when to measure and to save; reports each step with rate and ETA; ends a run of meaningless numbers."""

    def __init__(self, job: TrainingJob, progress: Progress):
        world = distributed.world()
        self._job = job
        self._progress = progress
        # Tokens of each step, and the steps that end an epoch: every process takes a row of a step.
        self._step_tokens = [
            sum(len(row.ids) for row in job.rows[start : start + world])
            for start in range(0, len(job.rows), world)
        ]
        self._epoch_ends = {-(-end // world) for end in job.epoch_ends}
        self._started = 0.0
        self._first_step = 0
        self._saved = 0.0
        self.tokens = 0

    @property
    def steps(self) -> int:
        return len(self._step_tokens)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._started = self._saved = time.monotonic()
        self._first_step = state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step in self._epoch_ends:
            control.should_evaluate = control.should_save = True
        elif distributed.broadcast(time.monotonic() - self._saved >= _SAVE_EVERY_S):
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._saved = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        step, logs = state.global_step, logs or {}
        note: dict[str, Any] = {"step": step, "steps": self.steps}
        if "eval_loss" in logs:
            note["dev_loss"] = logs["eval_loss"]
        elif "loss" in logs:
            _check(step, logs["loss"], logs.get("grad_norm"))
            self.tokens = sum(self._step_tokens[self._first_step : step])
            rate = self.tokens / max(1e-6, time.monotonic() - self._started)
            note |= {
                "loss": logs["loss"],  # unrounded: `rerun` compares it
                "tokens_per_s": round(rate),
                "eta_s": round(sum(self._step_tokens[step:]) / max(rate, 1e-6)),
            }
        else:
            return
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
