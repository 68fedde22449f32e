"""Which interrupted run can go on, and what stands against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store import Store
from store.records import Dataset, Example, RunStatus, TrainingRun
from trainer.training.checkpoints import Checkpoint, last_checkpoint, work_dir

PHASE = "resume"  # of the event that notes each time a run went on
_MOST = 3  # times that a run goes on unasked: one that dies again and again (out of memory, say) is left to people


@dataclass(frozen=True)
class Interrupted:
    """The newest run, cut short after a checkpoint; `times` is how often it went on already."""

    run: TrainingRun
    checkpoint: Checkpoint
    times: int

    @property
    def may_go_on_unasked(self) -> bool:
        return self.times < _MOST


def interrupted(store: Store, data_dir: Path, assistant_id: str) -> Interrupted | None:
    """None when the newest run ended by itself, or was cut short before there was anything to go on from."""
    for run in store.runs.all(assistant_id, limit=1):
        checkpoint = last_checkpoint(work_dir(data_dir, run.id))
        active = store.deployments.active(assistant_id)
        swapped = active is not None and active.run_id == run.id  # killed while it measured what it had saved
        cut = run.status is RunStatus.INTERRUPTED and run.dataset_id is not None and not swapped
        if cut and checkpoint is not None:
            return Interrupted(run, checkpoint, len(store.runs.events(run.id, PHASE)))
    return None


def changes(
    run: TrainingRun,
    dataset: Dataset,
    settings: Mapping[str, Any],
    prompt_id: int,
    examples: Sequence[Example],
) -> list[str]:
    """Why the run would not be the one that starts now: its approved answers, prompt version or settings are others.

    `examples` are those of now. What the teacher alone speaks for changes with every chat, and is no reason.
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
