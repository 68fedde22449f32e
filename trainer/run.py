"""Walks one retrain: freeze a dataset, train a candidate, evaluate it, and deploy it or refuse it with reasons."""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace

import msgspec

from assistant.adapter_files import BadAdapter, verify
from assistant.embedding import EmbeddingError
from assistant.serving import MAX_RANK
from assistant.startup import model_problem
from assistant.vllm_client import VllmError
from store import StoreError
from store.errors import NotSaved
from store.lock import TRAINING, Lock
from store.records import WITHOUT_TRAINING, RunStatus, TrainingRun
from trainer.candidate import (
    Candidate,
    candidate_after_edit,
    is_worth_trying,
    train_candidate,
    untrained_candidate,
)
from trainer.context import Retrain, RunProgress, TrainingContext
from trainer.copying import copying_candidate, is_worth_copying
from trainer.deployment.swap import ParityError
from trainer.evaluation.judgements import TRIGGER, pending
from trainer.evaluation.scorers import ScorerFailed, UnknownScorer
from trainer.examples.dataset import DatasetDraft, draft_for_model, snapshot
from trainer.examples.demonstrations import refresh
from trainer.promotion import evaluate_and_deploy
from trainer.prompt_edit import TRIGGER as EDITED
from trainer.prompt_edit import next_try, segments_after_edit
from trainer.redaction.entities import RedactionError
from trainer.settings import TrainerSettings
from trainer.training.checkpoints import RESUME, interrupted, last_checkpoint
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
    EmbeddingError,
    OSError,
    TrainingDiverged,
    RedactionError,
)
_MakesCandidate = Callable[[Retrain], Candidate | str]  # or why there is none
# Before each training, one after the other: whether it is worth a test, and what is tested.
_UNTRAINED: tuple[tuple[Callable[[TrainingContext, str], bool], _MakesCandidate], ...] = (
    (is_worth_trying, untrained_candidate),
    (is_worth_copying, copying_candidate),
)


def run_once(context: TrainingContext, assistant_id: str, trigger: str) -> TrainingRun:
    """Retrain once, or resume a run that was interrupted when nothing has changed since.

    A shortage or a refusal is a finished run, and a fault of the outside world a failed one. Raises LockTaken when
    another trainer works on this data directory, and what interrupts it (KeyboardInterrupt, which a SIGTERM becomes).
    """
    store = context.store
    with Lock(context.data_dir, TRAINING):
        # Whatever is recorded as running was killed: its process would hold the lock.
        store.runs.interrupt_running("The training process was killed or crashed during this run.")
        run = resume(context, assistant_id)
        if run is None:
            for is_worth, candidate_of in _UNTRAINED:
                if is_worth(context, assistant_id):
                    tried = _try(context, assistant_id, f"{trigger}, {WITHOUT_TRAINING}", candidate_of)
                    if tried.status not in (RunStatus.PROMOTED, RunStatus.REFUSED):
                        return tried
            run = _start(context, assistant_id, trigger)
        _remove_work_dirs(context, assistant_id, run.id)
        try:
            return _finish(context, run, lambda: _retrain(context, run))
        finally:
            if interrupted(store, context.data_dir, assistant_id) is None:
                shutil.rmtree(context.work_dir(run.id), ignore_errors=True)


def _try(
    context: TrainingContext, assistant_id: str, trigger: str, candidate_of: _MakesCandidate
) -> TrainingRun:
    run = _start(context, assistant_id, trigger)
    if active := context.store.deployments.active(assistant_id):
        run = context.store.runs.update(run.id, adapter=active.adapter)
    return _finish(context, run, lambda: _evaluate(context, run, candidate_of, False))


def _start(context: TrainingContext, assistant_id: str, trigger: str) -> TrainingRun:
    return context.store.runs.start(assistant_id, context.settings.as_record(), trigger)


def _retrain(context: TrainingContext, run: TrainingRun) -> TrainingRun:
    if problem := model_problem(context.data_dir, context.base):
        message = f"This model cannot be trained: {problem}."
        return context.store.runs.finish(run.id, RunStatus.FAILED, message, {})
    return _evaluate(context, run, train_candidate, True)


def _evaluate(
    context: TrainingContext, run: TrainingRun, candidate_of: _MakesCandidate, trains: bool
) -> TrainingRun:
    """Freeze the dataset, unless that was done before an interruption, and test the candidate that is made of it."""
    store, progress = context.store, RunProgress(context.store, run.id)
    with progress.timed("dataset"):
        known = run.dataset_id and (store.datasets.get(run.dataset_id), ())
        frozen = known or snapshot(context, run, progress, trains)
    if isinstance(frozen, str):
        return store.runs.finish(run.id, RunStatus.NOT_ENOUGH, frozen, {})
    if trains:
        refresh(store, run.assistant_id, context.settings)
    dataset, unrated = frozen
    retrain = Retrain(context, run, dataset, progress, unrated)
    candidate = candidate_of(retrain)
    if isinstance(candidate, str):
        return store.runs.finish(run.id, RunStatus.REFUSED, candidate, {})
    # One event loop for all talk with the servers: connections belong to the loop they were opened in.
    return asyncio.run(evaluate_and_deploy(retrain, candidate))


def reevaluate(context: TrainingContext, assistant_id: str) -> TrainingRun | None:
    """Evaluate a candidate again once people have judged its answers (it was refused, or a shorter variant was), or
    after an edit of the prompt what was served before it; None where neither waits.

    Nothing is trained, and nothing that was answered is asked again. Raises LockTaken as `run_once` does.
    """
    store = context.store
    with Lock(context.data_dir, TRAINING):
        first = pending(store, assistant_id)
        if first is None or first.dataset_id is None:
            return _evaluate_after_edit(context, assistant_id)
        run = store.runs.start(assistant_id, first.settings, TRIGGER)
        run = store.runs.update(run.id, dataset_id=first.dataset_id, adapter=first.adapter)
        # By the settings of the first evaluation: the margin does not move with what people have said.
        context = replace(context, settings=TrainerSettings.from_record(first.settings))
        return _finish(context, run, lambda: _evaluate_again(context, run, first))


def _evaluate_after_edit(context: TrainingContext, assistant_id: str) -> TrainingRun | None:
    """Test what was served before the edit with what has changed; where its adapter was refused, the base model with
    approved answers and what has changed.
    """
    store = context.store
    found = next_try(store, assistant_id)
    if found is None:
        return None
    run = _start(context, assistant_id, found.trigger)
    if found.trigger == EDITED:
        run = store.runs.update(run.id, adapter=found.served.adapter)

    def work() -> TrainingRun:
        refresh(store, assistant_id, context.settings)
        if found.trigger == EDITED:
            return _evaluate(context, run, lambda retrain: candidate_after_edit(retrain, found.served), False)
        if not is_worth_trying(context, assistant_id):
            message = "The base model with approved answers would need no fewer tokens than the prompt."
            return store.runs.finish(run.id, RunStatus.REFUSED, message, {})
        before = store.prompts.get(found.served.prompt_id).segments
        changed = segments_after_edit(before, (), store.prompts.latest(assistant_id).segments)
        return _evaluate(context, run, lambda retrain: untrained_candidate(retrain, changed), False)

    return _finish(context, run, work)


def _evaluate_again(context: TrainingContext, run: TrainingRun, first: TrainingRun) -> TrainingRun:
    candidate = msgspec.convert(first.report["candidate"], Candidate)
    if candidate.name is not None:
        verify(context.adapters / candidate.name, context.base, MAX_RANK)  # it may be weeks old
    dataset = context.store.datasets.get(first.dataset_id or 0)
    retrain = Retrain(context, run, dataset, RunProgress(context.store, run.id))
    known_answers, passed = context.store.gate_answers.texts(first.id), first.report.get("passed", -1)
    if first.status is RunStatus.PROMOTED:
        known_answers["active"] = known_answers[first.report["gate"]["shown"]]
    return asyncio.run(evaluate_and_deploy(retrain, candidate, known_answers, is_second=True, passed=passed))


def _finish(context: TrainingContext, run: TrainingRun, work: Callable[[], TrainingRun]) -> TrainingRun:
    """Do the work and record how it ends; raises what interrupts it, and faults in this program."""
    store = context.store
    try:
        return work()
    except _EXPECTED as error:
        return _fail(context, run, str(error))
    except KeyboardInterrupt:
        if store.runs.get(run.id).status is RunStatus.RUNNING:
            store.runs.finish(run.id, RunStatus.INTERRUPTED, _resume_hint(context, run), {})
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


def resume(context: TrainingContext, assistant_id: str) -> TrainingRun | None:
    """The interrupted run, running again, if it is still what would start now."""
    run = interrupted(context.store, context.data_dir, assistant_id)
    checkpoint = last_checkpoint(context.work_dir(run.id)) if run else None
    if run is None or checkpoint is None:
        return None
    try:
        now = draft_for_model(context, assistant_id)
    except RedactionError:
        return None  # a new run meets it again and says so
    if against := _changes(context, run, now):
        print(f"Run {run.id} was interrupted and does not go on: {'; '.join(against)}.", flush=True)
        return None
    running = context.store.runs.resume(run.id)
    RunProgress(context.store, run.id).record(
        RESUME, step=checkpoint.step, steps=checkpoint.steps, interruption=run.message
    )
    print(f"Resumed run {run.id} at step {checkpoint.step} of {checkpoint.steps}.", flush=True)
    return running


def _changes(context: TrainingContext, run: TrainingRun, now: DatasetDraft) -> list[str]:
    """What differs between the run and one that would start now.

    Unrated answers change with every chat and do not count.
    """
    dataset = context.store.datasets.get(run.dataset_id or 0)
    settings = context.settings.as_record()
    found = []
    then, approved = ([e for e in some if e.approved] for some in (dataset.examples, now.examples))
    if then != approved:
        found.append("the approved answers have changed")
    if dataset.prompt_id != now.collection.prompt_id:
        found.append("the prompt was edited")
    names = sorted({*run.settings, *settings})
    if other := [name for name in names if run.settings.get(name) != settings.get(name)]:
        found.append(f"other settings are asked for ({', '.join(other)})")
    for event in context.store.runs.events(run.id, ENVIRONMENT)[-1:]:
        found += differences(event.data, environment(context.base))
    return found


def _resume_hint(context: TrainingContext, run: TrainingRun) -> str:
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
