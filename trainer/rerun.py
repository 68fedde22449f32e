"""A run's record to the same adapter again, and to the word whether the losses are the same.

In: a finished or interrupted run: its frozen dataset, prompt version, settings, seed and environment. Out: an adapter
directory of its own name, which nobody serves, and the losses of both, step by step. Place in the flow: beside it;
this is how the promise is kept that every adapter can be rebuilt from its run record alone.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assistant.adapter_files import BadAdapter, verify
from assistant.serving import MAX_RANK
from store import Store
from store.records import Dataset, TrainingRun
from trainer.candidate import build_job
from trainer.context import TrainingContext
from trainer.environment import PHASE, differences, environment, use_threads
from trainer.evaluation.reevaluation import TRIGGER as REEVALUATION
from trainer.examples.dataset import content_hash
from trainer.lease import Lease
from trainer.settings import OtherSettings, TrainerSettings
from trainer.training.finetune import TrainingDiverged, finetune
from trainer.training.precision import Precision
from trainer.training.publish import free_name, publish


class NoRerun(Exception):
    """The run cannot be trained again; the message says what is missing."""


@dataclass(frozen=True)
class Rerun:
    """The losses of a run and of its rerun by step; `weights` says whether both adapters are the same to the last bit.

    `weights` is None where the run published none that is still there.
    """

    run_id: int
    adapter: str
    recorded: dict[int, float]
    found: dict[int, float]
    weights: bool | None
    warnings: tuple[str, ...]

    def difference(self) -> float:
        """The largest, in nats, over the steps that both have."""
        return max((abs(self.recorded[step] - self.found[step]) for step in self._both()), default=0.0)

    def same(self, tolerance: float) -> bool:
        return set(self.recorded) <= set(self.found) and self._differs_at(tolerance) is None

    def verdict(self, tolerance: float) -> str:
        rebuilt = f"The adapter is {self.adapter}."
        if self.weights is not None:
            rebuilt += f" Its weights are {'the very same' if self.weights else 'not bit for bit the same'}."
        if self.same(tolerance):
            return f"The same losses (max difference {self.difference():g} in {len(self.recorded)} steps). {rebuilt}"
        step = self._differs_at(tolerance)
        if step is None:
            missing = min(set(self.recorded) - set(self.found))
            return f"The losses end before step {missing}, which run {self.run_id} had. {rebuilt}"
        return (
            f"The losses differ from step {step} on: {self.recorded[step]:.6f} in run {self.run_id}, "
            f"{self.found[step]:.6f} now ({tolerance:g} allowed; max difference {self.difference():g}). {rebuilt}"
        )

    def _both(self) -> list[int]:
        return sorted(self.recorded.keys() & self.found.keys())

    def _differs_at(self, tolerance: float) -> int | None:
        steps = (s for s in self._both() if not abs(self.recorded[s] - self.found[s]) <= tolerance)
        return next(steps, None)


def rerun(store: Store, data_dir: Path, run_id: int, told: Callable[[str], None]) -> Rerun:
    """Train again and publish under a new name. Raises NoRerun, NoServer, TokenizerError, LeaseTaken, NotFound."""
    run = store.runs.get(run_id)
    dataset, settings, then = _dataset(store, run), _settings(run), _environment(store, run)
    recorded = _losses(store, run)
    w = TrainingContext.open(store, data_dir, settings)
    if then["base"] != w.base:
        raise NoRerun(
            f"Run {run.id} was trained on another base model ({then['base'][:12]}, not {w.base[:12]}). Start the app "
            "with that model in this data directory, then run this again."
        )
    use_threads(then["threads"])
    work_dir = w.work_dir(f"rerun-{run.id}-{uuid.uuid4().hex[:8]}")
    with Lease(store):
        for left_behind in work_dir.parent.glob(
            "rerun-*"
        ):  # by one that was killed: this one holds the lease
            shutil.rmtree(left_behind, ignore_errors=True)
        try:
            job = build_job(w, dataset, work_dir)
            job = replace(job, precision=_precision(then))
            trained = finetune(job, lambda note: told(f"step {note['step']} of {note['steps']}"))
        except TrainingDiverged as error:
            raise NoRerun(f"Run {run.id} cannot be trained again: {error}") from error
        finally:
            shutil.rmtree(work_dir, ignore_errors=True)
        first = f"{run.assistant_id}-v{run.id:04d}-rerun"
        name = free_name(w.adapters, first)
        manifest = publish(trained.model, w.adapters, name, w.base)
    return Rerun(
        run.id,
        str(w.adapters / name),
        recorded,
        {entry["step"]: entry["loss"] for entry in trained.history if "loss" in entry},
        _same_weights(w, run, manifest.files),
        tuple(differences(then, environment(w.base))),
    )


def _dataset(store: Store, run: TrainingRun) -> Dataset:
    if run.trigger == REEVALUATION:
        raise NoRerun(
            f"Run {run.id} trained nothing: it evaluated {run.adapter} again. Name the run that trained it."
        )
    if run.dataset_id is None:
        raise NoRerun(f"Run {run.id} froze no dataset, so there is nothing to train again. {run.message}")
    dataset = store.datasets.get(run.dataset_id)
    if content_hash(dataset.examples) != dataset.hash:
        raise NoRerun(
            f"Dataset {dataset.id} of run {run.id} is not what was trained on: examples of it were erased "
            f"({len(dataset.examples)} are left). Its adapter cannot be rebuilt."
        )
    return dataset


def _settings(run: TrainingRun) -> TrainerSettings:
    try:
        return TrainerSettings.from_record(run.settings)
    except OtherSettings as error:
        raise NoRerun(f"Run {run.id} cannot be trained again by this version. {error}") from error


def _environment(store: Store, run: TrainingRun) -> Mapping[str, Any]:
    for event in store.runs.events(run.id, PHASE)[-1:]:
        return event.data
    raise NoRerun(
        f"Run {run.id} never came to train, or an older version trained it: it noted no environment."
    )


def _losses(store: Store, run: TrainingRun) -> dict[int, float]:
    """What a resumed run noted twice for a step counts as it went on: the last."""
    events = store.runs.events(run.id, "train")
    found = {event.data["step"]: event.data["loss"] for event in events if "loss" in event.data}
    if not found:
        raise NoRerun(f"Run {run.id} ended before its first training step: there are no losses to compare.")
    return found


def _precision(then: Mapping[str, Any]) -> Precision:
    return Precision(then["precision"])


def _same_weights(w: TrainingContext, run: TrainingRun, files: Mapping[str, str]) -> bool | None:
    if run.adapter is None:
        return None
    try:
        published = verify(w.adapters / run.adapter, w.base, MAX_RANK).files
    except BadAdapter:
        return None
    return published["adapter_model.safetensors"] == files["adapter_model.safetensors"]
