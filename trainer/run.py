"""One retrain, from the rated answers in the store to an active deployment or a refusal with reasons.

In: a workshop and an assistant. Out: a finished TrainingRun. Place in the flow: it walks every step and writes
down how far it got; each step's own work is in its own module.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace

from assistant.adapter_files import BadAdapter, verify
from assistant.serving import MAX_RANK
from assistant.vllm_client import VllmError
from store import StoreError
from store.errors import LeaseLost, NotSaved
from store.records import RunStatus, TrainingRun
from trainer.candidate import train_candidate
from trainer.context import TrainingContext
from trainer.deployment.swap import ParityError
from trainer.environment import PHASE as ENVIRONMENT
from trainer.environment import differences, environment
from trainer.evaluation.hearing import TRIGGER, pending
from trainer.evaluation.scorers import ScorerFailed, UnknownScorer
from trainer.freezing import freeze, prepare
from trainer.lease import Lease
from trainer.notes import Notes
from trainer.proving import prove
from trainer.redaction.entities import RedactionError
from trainer.resumption import PHASE as RESUME
from trainer.resumption import changes, interrupted
from trainer.settings import TrainerSettings
from trainer.training.candidate import Candidate
from trainer.training.checkpoints import last_checkpoint
from trainer.training.finetune import TrainingDiverged

# What can go wrong outside this program; anything else is a fault in it and is raised.
_EXPECTED = (
    VllmError,
    BadAdapter,
    ParityError,
    StoreError,
    UnknownScorer,
    ScorerFailed,
    OSError,
    TrainingDiverged,
    RedactionError,
)


def run_once(workshop: TrainingContext, assistant_id: str, trigger: str) -> TrainingRun:
    """Retrain once, or go on with a run that was interrupted when nothing has changed since.

    A shortage or a refusal is a finished run, and a fault of the outside world a failed one. Raises LeaseTaken when
    another trainer works on this data directory, and what interrupts it (KeyboardInterrupt, which a SIGTERM becomes).
    """
    with Lease(workshop.store) as lease:
        # Every write from here on is refused once another trainer has taken the lease.
        workshop = replace(workshop, store=lease.store)
        store = workshop.store
        # Whatever is noted as running was killed: its process would hold the lease.
        store.runs.interrupt_running("The training process was killed or crashed during this run.")
        run = _go_on(workshop, assistant_id)
        if run is None:
            run = store.runs.start(assistant_id, workshop.settings.as_record(), trigger)
        _remove_work_dirs(workshop, assistant_id, run.id)
        try:
            return _to_an_end(workshop, run, lambda: _walk(workshop, run, lease))
        except LeaseLost as error:
            print(f"Run {run.id}: {error}", flush=True)
            return store.runs.get(run.id)  # what became of it was noted by who took the lease
        finally:
            if lease.still_held() and interrupted(store, workshop.data_dir, assistant_id) is None:
                shutil.rmtree(workshop.work_dir(run.id), ignore_errors=True)


def hear_again(workshop: TrainingContext, assistant_id: str) -> TrainingRun | None:
    """The second hearing of a refused candidate, once people have decided about its answers; None where none waits.

    Nothing is trained, and nothing that was answered is asked again. Raises LeaseTaken as `run_once` does.
    """
    with Lease(workshop.store) as lease:
        store = lease.store
        refused = pending(store, assistant_id)
        if refused is None or refused.dataset_id is None:
            return None
        run = store.runs.start(assistant_id, refused.settings, TRIGGER)
        run = store.runs.update(run.id, dataset_id=refused.dataset_id, adapter=refused.adapter)
        # By the settings of the first hearing: the margin does not move with what people have said.
        workshop = replace(workshop, store=store, settings=TrainerSettings.from_record(refused.settings))
        try:
            return _to_an_end(workshop, run, lambda: _hear(workshop, run, refused, lease))
        except LeaseLost as error:
            print(f"Run {run.id}: {error}", flush=True)
            return store.runs.get(run.id)


def _hear(w: TrainingContext, run: TrainingRun, refused: TrainingRun, lease: Lease) -> TrainingRun:
    report = refused.report
    candidate = Candidate.from_record(report["candidate"], report.get("training", {}))
    verify(w.adapters / candidate.name, w.base, MAX_RANK)  # it may have lain there for weeks
    dataset = w.store.datasets.get(refused.dataset_id or 0)
    heard = w.store.gate_answers.texts(refused.id)
    with asyncio.Runner() as runner:
        return runner.run(prove(w, run, dataset, candidate, Notes(w.store, run.id), lease, heard))


def _to_an_end(workshop: TrainingContext, run: TrainingRun, walk: Callable[[], TrainingRun]) -> TrainingRun:
    """However it ends is noted; raises LeaseLost, what interrupts it, and faults in this program."""
    store = workshop.store
    try:
        return walk()
    except LeaseLost:
        raise
    except _EXPECTED as error:
        return _failed(workshop, run, str(error))
    except KeyboardInterrupt:
        if store.runs.get(run.id).status is RunStatus.RUNNING:
            store.runs.finish(run.id, RunStatus.INTERRUPTED, _how_far(workshop, run), {})
        raise
    except BaseException as error:
        _failed(workshop, run, f"{type(error).__name__}: {error}")
        raise


def _failed(w: TrainingContext, run: TrainingRun, why: str) -> TrainingRun:
    try:
        return w.store.runs.finish(run.id, RunStatus.FAILED, why, {})
    except NotSaved:  # the run's own checkpoints may be what has filled the store's disk
        shutil.rmtree(w.work_dir(run.id), ignore_errors=True)
        return w.store.runs.finish(run.id, RunStatus.FAILED, why, {})


def _go_on(w: TrainingContext, assistant_id: str) -> TrainingRun | None:
    """The interrupted run, running again, if it is still what would start now."""
    found = interrupted(w.store, w.data_dir, assistant_id)
    if found is None:
        return None
    run, checkpoint = found.run, found.checkpoint
    dataset = w.store.datasets.get(run.dataset_id or 0)
    try:
        now = prepare(w, assistant_id)
    except RedactionError:
        return None  # a new run meets it again and says so
    against = changes(run, dataset, w.settings.as_record(), now.intake.prompt_id, now.examples)
    for event in w.store.runs.events(run.id, ENVIRONMENT)[-1:]:
        against += differences(event.data, environment(w.base))
    if against:
        print(f"Run {run.id} was interrupted and does not go on: {'; '.join(against)}.", flush=True)
        return None
    run = w.store.runs.resume(run.id)
    Notes(w.store, run.id).add(
        RESUME, step=checkpoint.step, steps=checkpoint.steps, interruption=found.run.message
    )
    print(f"Resumed run {run.id} at step {checkpoint.step} of {checkpoint.steps}.", flush=True)
    return run


def _how_far(w: TrainingContext, run: TrainingRun) -> str:
    checkpoint = last_checkpoint(w.work_dir(run.id))
    if checkpoint is None:
        return "Stopped before the first checkpoint: the next retrain starts anew."
    return (
        f"Stopped. The next retrain goes on from step {checkpoint.step} of {checkpoint.steps}, if examples, prompt and "
        "settings are still the same."
    )


def _remove_work_dirs(w: TrainingContext, assistant_id: str, segment_ids: int) -> None:
    """Earlier runs of this assistant will not go on any more; those of other assistants may."""
    mine = {str(run.id) for run in w.store.runs.all(assistant_id)} - {str(segment_ids)}
    for path in w.work_dir(segment_ids).parent.glob("*"):
        if path.name in mine:
            shutil.rmtree(path, ignore_errors=True)


def _walk(w: TrainingContext, run: TrainingRun, lease: Lease) -> TrainingRun:
    notes = Notes(w.store, run.id)
    with notes.timed("dataset"):
        dataset = w.store.datasets.get(run.dataset_id) if run.dataset_id else freeze(w, run, notes)
    if isinstance(dataset, str):
        return w.store.runs.finish(run.id, RunStatus.NOT_ENOUGH, dataset, {})
    candidate = train_candidate(w, run, dataset, notes)
    # One event loop for all talk with the servers: connections belong to the loop they were opened in.
    with asyncio.Runner() as runner:
        return runner.run(prove(w, run, dataset, candidate, notes, lease))
