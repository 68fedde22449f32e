"""Walks one retrain: freeze a dataset, train a candidate, evaluate it, and deploy it or refuse it with reasons."""

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
from trainer.candidate import Candidate, train_candidate
from trainer.context import RunProgress, TrainingContext
from trainer.deployment.swap import ParityError
from trainer.evaluation.judgements import TRIGGER, pending
from trainer.evaluation.scorers import ScorerFailed, UnknownScorer
from trainer.examples.dataset import draft_for_model, snapshot
from trainer.lease import Lease
from trainer.promotion import evaluate_and_deploy
from trainer.redaction.entities import RedactionError
from trainer.resumption import PHASE as RESUME
from trainer.resumption import changes, interrupted
from trainer.settings import TrainerSettings
from trainer.training.checkpoints import last_checkpoint
from trainer.training.environment import PHASE as ENVIRONMENT
from trainer.training.environment import differences, environment
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


def run_once(context: TrainingContext, assistant_id: str, trigger: str) -> TrainingRun:
    """Retrain once, or resume a run that was interrupted when nothing has changed since.

    A shortage or a refusal is a finished run, and a fault of the outside world a failed one. Raises LeaseTaken when
    another trainer works on this data directory, and what interrupts it (KeyboardInterrupt, which a SIGTERM becomes).
    """
    with Lease(context.store) as lease:
        # Every write from here on is refused once another trainer has taken the lease.
        context = replace(context, store=lease.store)
        store = context.store
        # Whatever is recorded as running was killed: its process would hold the lease.
        store.runs.interrupt_running("The training process was killed or crashed during this run.")
        run = _resume(context, assistant_id) or store.runs.start(
            assistant_id, context.settings.as_record(), trigger
        )
        _remove_work_dirs(context, assistant_id, run.id)
        try:
            return _finish(context, run, lambda: _retrain(context, run, lease))
        finally:
            if lease.still_held() and interrupted(store, context.data_dir, assistant_id) is None:
                shutil.rmtree(context.work_dir(run.id), ignore_errors=True)


def _retrain(context: TrainingContext, run: TrainingRun, lease: Lease) -> TrainingRun:
    progress = RunProgress(context.store, run.id)
    with progress.timed("dataset"):
        dataset = (
            context.store.datasets.get(run.dataset_id) if run.dataset_id else snapshot(context, run, progress)
        )
    if isinstance(dataset, str):
        return context.store.runs.finish(run.id, RunStatus.NOT_ENOUGH, dataset, {})
    candidate = train_candidate(context, run, dataset, progress)
    # One event loop for all talk with the servers: connections belong to the loop they were opened in.
    with asyncio.Runner() as runner:
        return runner.run(evaluate_and_deploy(context, run, dataset, candidate, progress, lease))


def reevaluate(context: TrainingContext, assistant_id: str) -> TrainingRun | None:
    """Evaluate a refused candidate again once people have judged its answers; None where none waits.

    Nothing is trained, and nothing that was answered is asked again. Raises LeaseTaken as `run_once` does.
    """
    with Lease(context.store) as lease:
        store = lease.store
        refused = pending(store, assistant_id)
        if refused is None or refused.dataset_id is None:
            return None
        run = store.runs.start(assistant_id, refused.settings, TRIGGER)
        run = store.runs.update(run.id, dataset_id=refused.dataset_id, adapter=refused.adapter)
        # By the settings of the first evaluation: the margin does not move with what people have said.
        context = replace(context, store=store, settings=TrainerSettings.from_record(refused.settings))
        return _finish(context, run, lambda: _evaluate_again(context, run, refused, lease))


def _evaluate_again(
    context: TrainingContext, run: TrainingRun, refused: TrainingRun, lease: Lease
) -> TrainingRun:
    store = context.store
    candidate = Candidate(**refused.report["candidate"])
    verify(context.adapters / candidate.name, context.base, MAX_RANK)  # it may be weeks old
    dataset = store.datasets.get(refused.dataset_id or 0)
    progress, known = RunProgress(store, run.id), store.gate_answers.texts(refused.id)
    with asyncio.Runner() as runner:
        return runner.run(evaluate_and_deploy(context, run, dataset, candidate, progress, lease, known))


def _finish(context: TrainingContext, run: TrainingRun, work: Callable[[], TrainingRun]) -> TrainingRun:
    """Do the work and record how it ends; raises what interrupts it, and faults in this program."""
    store = context.store
    try:
        return work()
    except LeaseLost as error:
        print(f"Run {run.id}: {error}", flush=True)
        return store.runs.get(run.id)  # whoever took the lease has recorded what became of it
    except _EXPECTED as error:
        return _fail(context, run, str(error))
    except KeyboardInterrupt:
        if store.runs.get(run.id).status is RunStatus.RUNNING:
            store.runs.finish(run.id, RunStatus.INTERRUPTED, _how_far(context, run), {})
        raise
    except BaseException as error:
        _fail(context, run, f"{type(error).__name__}: {error}")
        raise


def _fail(context: TrainingContext, run: TrainingRun, why: str) -> TrainingRun:
    try:
        return context.store.runs.finish(run.id, RunStatus.FAILED, why, {})
    except NotSaved:  # the run's own checkpoints may be what has filled the store's disk
        shutil.rmtree(context.work_dir(run.id), ignore_errors=True)
        return context.store.runs.finish(run.id, RunStatus.FAILED, why, {})


def _resume(context: TrainingContext, assistant_id: str) -> TrainingRun | None:
    """The interrupted run, running again, if it is still what would start now."""
    found = interrupted(context.store, context.data_dir, assistant_id)
    if found is None:
        return None
    run, checkpoint = found.run, found.checkpoint
    dataset = context.store.datasets.get(run.dataset_id or 0)
    try:
        now = draft_for_model(context, assistant_id)
    except RedactionError:
        return None  # a new run meets it again and says so
    against = changes(run, dataset, context.settings.as_record(), now.collection.prompt_id, now.examples)
    for event in context.store.runs.events(run.id, ENVIRONMENT)[-1:]:
        against += differences(event.data, environment(context.base))
    if against:
        print(f"Run {run.id} was interrupted and does not go on: {'; '.join(against)}.", flush=True)
        return None
    run = context.store.runs.resume(run.id)
    RunProgress(context.store, run.id).record(
        RESUME, step=checkpoint.step, steps=checkpoint.steps, interruption=found.run.message
    )
    print(f"Resumed run {run.id} at step {checkpoint.step} of {checkpoint.steps}.", flush=True)
    return run


def _how_far(context: TrainingContext, run: TrainingRun) -> str:
    checkpoint = last_checkpoint(context.work_dir(run.id))
    if checkpoint is None:
        return "Stopped before the first checkpoint: the next retrain starts anew."
    return (
        f"Stopped. The next retrain goes on from step {checkpoint.step} of {checkpoint.steps}, if examples, prompt and "
        "settings are still the same."
    )


def _remove_work_dirs(context: TrainingContext, assistant_id: str, kept_run: int) -> None:
    """Earlier runs of this assistant will not go on any more; those of other assistants may."""
    mine = {str(run.id) for run in context.store.runs.all(assistant_id)} - {str(kept_run)}
    for path in context.work_dir(kept_run).parent.glob("*"):
        if path.name in mine:
            shutil.rmtree(path, ignore_errors=True)
