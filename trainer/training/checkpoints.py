"""The checkpoints of a run on disk, which run can go on from one, and errors in words for saves that fail.

A process can be killed while it writes a checkpoint, so the last one is not always complete.
"""

import errno
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from store import Store
from store.records import RunStatus, TrainingRun

RESUME = "resume"  # of the event that a run records each time it goes on
_STATE = "trainer_state.json"  # Trainer writes it last, so a checkpoint that has it whole is complete


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: `step` of `steps`, and the log up to there."""

    path: Path
    step: int
    steps: int
    log: list[dict[str, Any]]


def work_dir(data_dir: Path, run: int | str) -> Path:
    """Where a run keeps its checkpoints while it trains; removed when it has finished."""
    return data_dir / "runs" / str(run)


def last_checkpoint(work_dir: Path) -> Checkpoint | None:
    """The complete checkpoint with the most steps; None when there is none."""
    found = [checkpoint for path in work_dir.glob("checkpoint-*") if (checkpoint := _read(path))]
    return max(found, key=lambda checkpoint: checkpoint.step, default=None)


def drop_incomplete(work_dir: Path) -> None:
    """Remove what a kill left half written, so that nothing takes it for the latest."""
    for path in work_dir.glob("checkpoint-*"):
        if _read(path) is None:
            shutil.rmtree(path, ignore_errors=True)


def _read(path: Path) -> Checkpoint | None:
    try:
        state = json.loads((path / _STATE).read_text())
        return Checkpoint(path, state["global_step"], state["max_steps"], state["log_history"])
    except (OSError, ValueError, KeyError):
        return None


def interrupted(store: Store, data_dir: Path, assistant_id: str) -> TrainingRun | None:
    """The newest run, where it was interrupted after a checkpoint and has not deployed yet."""
    for run in store.runs.all(assistant_id, limit=1):
        active = store.deployments.active(assistant_id)
        deployed = active is not None and active.run_id == run.id  # killed while it measured the saving
        has_trained = run.dataset_id is not None and last_checkpoint(work_dir(data_dir, run.id)) is not None
        if run.status is RunStatus.INTERRUPTED and has_trained and not deployed:
            return run
    return None


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk's limit, the user's, the process's


@contextmanager
def saving_below(directory: Path) -> Iterator[None]:
    """Raises OSError where a save within failed."""
    try:
        yield
    except (SafetensorError, RuntimeError, OSError) as error:
        number, what = (
            (error.errno, error.strerror) if isinstance(error, OSError) else (errno.EIO, str(error))
        )
        if isinstance(error, OSError) and number not in _FULL:
            raise
        existing = next(path for path in (directory, *directory.parents) if path.exists())
        free = f"{shutil.disk_usage(existing).free / 2**20:,.0f} MiB are free there. Free some space and train again"
        raise OSError(number, f"{directory} could not be written ({what}); {free}") from error
