"""One retrain or re-evaluation by the real trainer, in a process of its own, so that its memory is given back."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.processes import ROOT
from store import Store
from store.records import RunStatus, TrainingRun
from trainer.evaluation.judgements import TRIGGER as REEVALUATION
from trainer.evaluation.judgements import pending
from trainer.lease import NAME as LEASE

_LOOK_S = 1.0
_FINISHED = {RunStatus.PROMOTED, RunStatus.REFUSED, RunStatus.NOT_ENOUGH}
_MOST_RUNS = 100_000


class RetrainFailed(Exception):
    """The trainer ended without leaving a run; the message holds the end of its output."""


def retrain(
    store: Store,
    data_dir: Path,
    assistant_id: str,
    trigger: str,
    options: Sequence[str],
    on_progress: Callable[[str], None],
) -> TrainingRun:
    """Train, evaluate and swap; `on_progress` gets a line at each event of the run. Raises RetrainFailed.

    A run that failed is a result too; only one that was interrupted is done again, or goes on if the trainer can.
    """
    before = _newest(store, assistant_id, trigger)
    if before is not None and before.status in _FINISHED:
        return before
    return _run(store, data_dir, assistant_id, trigger, ["once", "--trigger", trigger, *options], on_progress)


def reevaluate(
    store: Store, data_dir: Path, assistant_id: str, on_progress: Callable[[str], None]
) -> TrainingRun | None:
    """Evaluate the candidate of the newest run again; None where none waits. Raises RetrainFailed."""
    if pending(store, assistant_id) is None:
        return None
    return _run(store, data_dir, assistant_id, REEVALUATION, ["reevaluate"], on_progress)


def _run(
    store: Store,
    data_dir: Path,
    assistant_id: str,
    trigger: str,
    words: Sequence[str],
    on_progress: Callable[[str], None],
) -> TrainingRun:
    before = _newest(store, assistant_id, trigger)
    _wait_for_others(store, on_progress)
    log = data_dir / "logs" / "trainer.log"
    log.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "trainer", *words, "--data-dir", str(data_dir)]
    command += ["--assistant", assistant_id]
    with log.open("ab") as output:
        # A session of its own: Ctrl-C reaches it once, from here, as a request to end.
        child = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _watch(child, store, assistant_id, trigger, on_progress)
        except BaseException:
            _interrupt(child)
            raise
    store.runs.interrupt_running(f"The training process ended with status {child.returncode} (see {log}).")
    run = _newest(store, assistant_id, trigger)
    if run is None or run == before:
        raise RetrainFailed(
            f"The trainer ended with status {child.returncode} before it began:\n"
            f"{log.read_text(errors='replace')[-2000:]}"
        )
    return run


def _watch(
    child: subprocess.Popen[bytes],
    store: Store,
    assistant_id: str,
    trigger: str,
    on_progress: Callable[[str], None],
) -> None:
    seen = 0.0
    while child.poll() is None:
        time.sleep(_LOOK_S)
        run = _newest(store, assistant_id, trigger)
        events = store.runs.events(run.id, after=seen) if run else []
        if events:
            seen = events[-1].at
            on_progress(
                f"{events[-1].phase}: {', '.join(f'{name} {v}' for name, v in events[-1].data.items())}"
            )


def _interrupt(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
    try:
        child.wait(30.0)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _wait_for_others(store: Store, on_progress: Callable[[str], None]) -> None:
    """A trainer that outlived a killed benchmark holds its lease until it is done, at least for a minute."""
    while (lease := store.leases.get(LEASE)) is not None:
        on_progress(
            f"another trainer (process {lease[0].split('-')[0]}) is at work on this data directory; waiting"
        )
        time.sleep(_LOOK_S)


def _newest(store: Store, assistant_id: str, trigger: str) -> TrainingRun | None:
    runs = [run for run in store.runs.all(assistant_id, _MOST_RUNS) if run.trigger == trigger]
    return runs[0] if runs else None
