"""Decides which interrupted run can be resumed, and what has changed since that speaks against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store import Store
from store.records import Dataset, Example, RunStatus, TrainingRun
from trainer.training.checkpoints import Checkpoint, last_checkpoint, work_dir

PHASE = "resume"  # of the event that a run records each time it goes on
_MAX_UNASKED = 3  # a run that dies again and again (out of memory, say) is left to people


@dataclass(frozen=True)
class Interrupted:
    """The newest run, interrupted after a checkpoint; `times` is how often it was resumed already."""

    run: TrainingRun
    checkpoint: Checkpoint
    times: int

    @property
    def may_go_on_unasked(self) -> bool:
        return self.times < _MAX_UNASKED


def interrupted(store: Store, data_dir: Path, assistant_id: str) -> Interrupted | None:
    """None when the newest run ended by itself, was interrupted before its first checkpoint, or deployed already."""
    for run in store.runs.all(assistant_id, limit=1):
        checkpoint = last_checkpoint(work_dir(data_dir, run.id))
        active = store.deployments.active(assistant_id)
        deployed = active is not None and active.run_id == run.id  # killed while it measured the saving
        if (
            run.status is not RunStatus.INTERRUPTED
            or run.dataset_id is None
            or deployed
            or checkpoint is None
        ):
            return None
        return Interrupted(run, checkpoint, len(store.runs.events(run.id, PHASE)))
    return None


def changes(
    run: TrainingRun,
    dataset: Dataset,
    settings: Mapping[str, Any],
    prompt_id: int,
    examples: Sequence[Example],
) -> list[str]:
    """What differs between the run and one that would start now with these `examples`: answers, prompt or settings.

    Examples from the teacher alone change with every chat and do not count.
    """
    found = []
    if _approved(dataset.examples) != _approved(examples):
        found.append("the approved answers have changed")
    if dataset.prompt_id != prompt_id:
        found.append("the prompt was edited")
    names = sorted({*run.settings, *settings})
    if other := [name for name in names if run.settings.get(name) != settings.get(name)]:
        found.append(f"other settings are asked for ({', '.join(other)})")
    return found


def _approved(examples: Sequence[Example]) -> list[Example]:
    return [example for example in examples if example.approved]
