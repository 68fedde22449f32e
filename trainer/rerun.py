"""Trains a run again from its record alone, and compares the losses step by step.

The record is its frozen dataset, prompt version, settings and environment. The rebuilt adapter is published under a
name of its own and never served.
"""

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from assistant.adapter_files import BadAdapter, Manifest, verify
from assistant.serving import MAX_RANK
from store import Store
from store.lock import TRAINING, Lock
from store.records import Dataset, TrainingRun
from trainer.candidate import build_job
from trainer.context import TrainingContext
from trainer.evaluation.judgements import TRIGGER as REEVALUATION
from trainer.examples.dataset import content_hash
from trainer.prompt_edit import TRIGGERS as AFTER_EDIT
from trainer.settings import TrainerSettings
from trainer.training.environment import PHASE, Precision, differences, environment
from trainer.training.finetune import Trained, TrainingDiverged, finetune
from trainer.training.publish import free_name, publish

OnStep = Callable[[int, int], None]


class NoRerun(Exception):
    """The run cannot be trained again; the message says what is missing."""


@dataclass(frozen=True)
class Rerun:
    """The losses of a run and of its rerun, by step.

    `weights_equal` says whether both adapters are the same to the last bit; None where the run's own is not there.
    """

    run_id: int
    adapter: str
    recorded: dict[int, float]
    repeated: dict[int, float]
    weights_equal: bool | None
    warnings: tuple[str, ...]

    def differs_at(self, tolerance: float) -> int | None:
        """The first step whose loss differs, is missing or is not a number."""
        for step, loss in sorted(self.recorded.items()):
            if not abs(loss - self.repeated.get(step, math.nan)) <= tolerance:
                return step
        return None

    def verdict(self, tolerance: float) -> str:
        """Whether the losses are the same, where they part, and where the adapter is."""
        both = self.recorded.keys() & self.repeated.keys()
        largest = max((abs(self.recorded[step] - self.repeated[step]) for step in both), default=0.0)
        step = self.differs_at(tolerance)
        if step is None:
            found = f"The same losses (max difference {largest:g} in {len(self.recorded)} steps)."
        elif step not in self.repeated:
            found = f"The losses end before step {step}, which run {self.run_id} had."
        else:
            found = (
                f"The losses differ from step {step} on: {self.recorded[step]:.6f} in run {self.run_id}, "
                f"{self.repeated[step]:.6f} now ({tolerance:g} allowed; max difference {largest:g})."
            )
        found += f" The adapter is {self.adapter}."
        if self.weights_equal is None:
            return found
        return f"{found} Its weights are {'the very same' if self.weights_equal else 'not bit for bit the same'}."


def rerun(store: Store, data_dir: Path, run_id: int, on_step: OnStep) -> Rerun:
    """Train again and publish under a new name; `on_step` gets (step, steps).

    Raises NoRerun, BadSetting, NoServer, TokenizerError, LockTaken, NotFound.
    """
    run = store.runs.get(run_id)
    dataset, recorded, losses = _record(store, run)
    context = TrainingContext.open(store, data_dir, TrainerSettings.from_record(run.settings))
    if recorded["base"] != context.base:
        raise NoRerun(
            f"Run {run.id} was trained on another base model ({recorded['base'][:12]}, not {context.base[:12]}). Start "
            "the app with that model in this data directory, then run this again."
        )
    torch.set_num_threads(recorded["threads"])  # another number of them rounds sums differently
    with Lock(data_dir, TRAINING):
        trained = _train(context, run, dataset, Precision(recorded["precision"]), on_step)
        name = free_name(context.adapters, f"{run.assistant_id}-v{run.id:04d}-rerun")
        manifest = publish(trained.model, context.adapters, name, context.base)
    return Rerun(
        run.id,
        str(context.adapters / name),
        losses,
        {entry["step"]: entry["loss"] for entry in trained.log if "loss" in entry},
        _weights_equal(context, run, manifest),
        tuple(differences(recorded, environment(context.base))),
    )


def _record(store: Store, run: TrainingRun) -> tuple[Dataset, Mapping[str, Any], dict[int, float]]:
    """The dataset of a run, its environment, and its losses by step. Raises NoRerun."""
    if run.trigger in (REEVALUATION, *AFTER_EDIT):
        raise NoRerun(
            f"Run {run.id} trained nothing: it evaluated {run.adapter or 'the base model'} again. Name the run that "
            "trained it."
        )
    if run.dataset_id is None:
        raise NoRerun(f"Run {run.id} froze no dataset, so there is nothing to train again. {run.message}")
    dataset = store.datasets.get(run.dataset_id)
    if content_hash(dataset.examples) != dataset.hash:
        raise NoRerun(
            f"Dataset {dataset.id} of run {run.id} is not what was trained on: examples of it were erased "
            f"({len(dataset.examples)} are left). Its adapter cannot be rebuilt."
        )
    environments, events = store.runs.events(run.id, PHASE), store.runs.events(run.id, "train")
    # Of a step that a resumed run recorded twice, the last counts.
    losses = {event.data["step"]: event.data["loss"] for event in events if "loss" in event.data}
    if not environments or not losses:
        raise NoRerun(f"Run {run.id} ended before its first training step: there are no losses to compare.")
    return dataset, environments[-1].data, losses


def _train(
    context: TrainingContext, run: TrainingRun, dataset: Dataset, precision: Precision, on_step: OnStep
) -> Trained:
    work_dir = context.work_dir(f"rerun-{run.id}")
    for killed in work_dir.parent.glob("rerun-*"):  # whoever made it is dead: this process holds the lock
        shutil.rmtree(killed, ignore_errors=True)
    try:
        job = replace(build_job(context, dataset, work_dir), precision=precision)
        return finetune(job, lambda event: on_step(event["step"], event["steps"]))
    except TrainingDiverged as error:
        raise NoRerun(f"Run {run.id} cannot be trained again: {error}") from error
    finally:
        shutil.rmtree(work_dir, ignore_errors=True)


def _weights_equal(context: TrainingContext, run: TrainingRun, rebuilt: Manifest) -> bool | None:
    try:
        published = verify(context.adapters / str(run.adapter), context.base, MAX_RANK)
    except BadAdapter:
        return None
    return published.files["adapter_model.safetensors"] == rebuilt.files["adapter_model.safetensors"]
