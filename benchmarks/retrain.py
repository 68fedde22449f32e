"""One retrain by the real trainer, in a process of its own, so that its memory is given back to the server.

In: a data directory, an assistant, a trigger that names the round. Out: the finished TrainingRun. A run of that trigger
that has finished already is not repeated. Does not know what is trained.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.app_process import ROOT
from store import Store
from store.records import RunStatus, TrainingRun
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
    note: Callable[[str], None],
) -> TrainingRun:
    """Train, prove and swap; `note` gets a line each time that the run gets on. Raises RetrainFailed.

    A run that failed is a result too; only one that was interrupted is done again.
    """
    known = _runs(store, assistant_id, trigger)
    for run in known:
        if run.status in _FINISHED:
            return run
    _wait_for_others(store, note)
    store.interrupt_running_runs("The benchmark was stopped during this run.")
    log = data_dir / "logs" / "trainer.log"
    log.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "trainer", "once", "--data-dir", str(data_dir)]
    command += ["--assistant", assistant_id, "--trigger", trigger, *options]
    with log.open("ab") as output:
        # A session of its own: Ctrl-C comes once, from here, and the trainer notes that it was interrupted.
        child = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _watch(child, store, assistant_id, trigger, len(known), note)
        except BaseException:
            _interrupt(child)
            raise
    runs = _runs(store, assistant_id, trigger)
    if len(runs) == len(known):
        raise RetrainFailed(
            f"The trainer ended with status {child.returncode} before it began:\n"
            f"{log.read_text(errors='replace')[-2000:]}"
        )
    if runs[0].status is RunStatus.RUNNING:
        store.interrupt_running_runs(
            f"The training process ended with status {child.returncode} (see {log})."
        )
    return store.run(runs[0].id)


def _watch(
    child: subprocess.Popen[bytes],
    store: Store,
    assistant_id: str,
    trigger: str,
    known: int,
    note: Callable[[str], None],
) -> None:
    seen = ""
    while child.poll() is None:
        time.sleep(_LOOK_S)
        runs = _runs(store, assistant_id, trigger)
        events = store.events(runs[0].id) if len(runs) > known else []
        if events:
            values = ", ".join(f"{name} {value}" for name, value in events[-1].data.items())
            line = f"{events[-1].phase}: {values}"
            if line != seen:
                note(line)
            seen = line


def _interrupt(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
    try:
        child.wait(30.0)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _wait_for_others(store: Store, note: Callable[[str], None]) -> None:
    """A trainer that outlived a killed benchmark holds its lease until it is done, at least for a minute."""
    while (lease := store.lease(LEASE)) is not None:
        note(f"another trainer (process {lease[0].split('-')[0]}) is at work on this data directory; waiting")
        time.sleep(_LOOK_S)


def _runs(store: Store, assistant_id: str, trigger: str) -> list[TrainingRun]:
    """Newest first."""
    return [run for run in store.runs(assistant_id, _MOST_RUNS) if run.trigger == trigger]
