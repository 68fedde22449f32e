"""One retrain, from the rated answers in the store to an active deployment or a refusal with reasons.

In: a workshop and an assistant. Out: a finished TrainingRun. Place in the flow: it walks every step and writes
down how far it got; each step's own work is in its own module.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from assistant.adapter_files import BadAdapter
from assistant.vllm_client import VllmError
from assistant.vllm_pool import VllmPool
from store import StoreError
from store.errors import LeaseLost
from store.records import Dataset, Deployment, RunStatus, Split, TrainingRun
from trainer import contradictions, quarantine
from trainer import dataset as datasets
from trainer.candidate import Candidate, train_candidate
from trainer.checkpoints import last_checkpoint
from trainer.environment import PHASE as ENVIRONMENT
from trainer.environment import differences, environment
from trainer.finetune import TrainingDiverged
from trainer.freezing import freeze, prepare
from trainer.gate import RungVerdict
from trainer.gating import Gating
from trainer.lease import Lease
from trainer.lora import NothingToTrain
from trainer.notes import Notes
from trainer.privacy.cleaning import privacy_remarks
from trainer.privacy.errors import NotScreened
from trainer.probe import probe
from trainer.resumption import PHASE as RESUME
from trainer.resumption import changes, interrupted
from trainer.scorers import ScorerFailed, UnknownScorer
from trainer.swap import ParityError, load_checked, swap_in, unload_older
from trainer.workshop import Workshop

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
    NothingToTrain,
    NotScreened,
)


def run_once(workshop: Workshop, assistant_id: str, trigger: str) -> TrainingRun:
    """Retrain once, or go on with a run that was interrupted when nothing has changed since.

    A shortage or a refusal is a finished run, and a fault of the outside world a failed one. Raises LeaseTaken when
    another trainer works on this data directory, and what interrupts it (KeyboardInterrupt, which a SIGTERM becomes).
    """
    with Lease(workshop.store) as lease:
        # Every write from here on is refused once another trainer has taken the lease.
        workshop = replace(workshop, store=lease.store)
        store = workshop.store
        # Whatever is noted as running was killed: its process would hold the lease.
        store.interrupt_running_runs("The training process was killed or crashed during this run.")
        run = _go_on(workshop, assistant_id)
        if run is None:
            run = store.start_run(assistant_id, workshop.settings.as_record(), trigger)
        _remove_work_dirs(workshop, assistant_id, run.id)
        try:
            return _walk_to_an_end(workshop, run, lease)
        except LeaseLost as error:
            print(f"Run {run.id}: {error}", flush=True)
            return store.run(run.id)  # what became of it was noted by who took the lease
        finally:
            if lease.still_held() and interrupted(store, workshop.data_dir, assistant_id) is None:
                shutil.rmtree(workshop.work_dir(run.id), ignore_errors=True)


def _walk_to_an_end(workshop: Workshop, run: TrainingRun, lease: Lease) -> TrainingRun:
    """However it ends is noted; raises LeaseLost, what interrupts it, and faults in this program."""
    store = workshop.store
    try:
        return _walk(workshop, run, lease)
    except LeaseLost:
        raise
    except _EXPECTED as error:
        return store.finish_run(run.id, RunStatus.FAILED, str(error), {})
    except KeyboardInterrupt:
        if store.run(run.id).status is RunStatus.RUNNING:
            store.finish_run(run.id, RunStatus.INTERRUPTED, _how_far(workshop, run), {})
        raise
    except BaseException as error:
        store.finish_run(run.id, RunStatus.FAILED, f"{type(error).__name__}: {error}", {})
        raise


def _go_on(w: Workshop, assistant_id: str) -> TrainingRun | None:
    """The interrupted run, running again, if it is still what would start now."""
    found = interrupted(w.store, w.data_dir, assistant_id)
    if found is None:
        return None
    run, checkpoint = found.run, found.checkpoint
    dataset = w.store.dataset(run.dataset_id or 0)
    try:
        now = prepare(w, assistant_id)
    except NotScreened:
        return None  # a new run meets it again and says so
    against = changes(run, dataset, w.settings.as_record(), now.intake.prompt_id, now.examples)
    for event in w.store.events(run.id, ENVIRONMENT)[-1:]:
        against += differences(event.data, environment(w.base))
    if against:
        print(f"Run {run.id} was interrupted and does not go on: {'; '.join(against)}.", flush=True)
        return None
    run = w.store.resume_run(run.id)
    Notes(w.store, run.id).add(
        RESUME, step=checkpoint.step, steps=checkpoint.steps, interruption=found.run.message
    )
    print(f"Resumed run {run.id} at step {checkpoint.step} of {checkpoint.steps}.", flush=True)
    return run


def _how_far(w: Workshop, run: TrainingRun) -> str:
    checkpoint = last_checkpoint(w.work_dir(run.id))
    if checkpoint is None:
        return "Stopped before the first checkpoint: the next retrain starts anew."
    return (
        f"Stopped. The next retrain goes on from step {checkpoint.step} of {checkpoint.steps}, if examples, prompt and "
        "settings are still the same."
    )


def _remove_work_dirs(w: Workshop, assistant_id: str, kept: int) -> None:
    """Earlier runs of this assistant will not go on any more; those of other assistants may."""
    mine = {str(run.id) for run in w.store.runs(assistant_id)} - {str(kept)}
    for path in w.work_dir(kept).parent.glob("*"):
        if path.name in mine:
            shutil.rmtree(path, ignore_errors=True)


def _walk(w: Workshop, run: TrainingRun, lease: Lease) -> TrainingRun:
    notes = Notes(w.store, run.id)
    with notes.timed("dataset"):
        dataset = w.store.dataset(run.dataset_id) if run.dataset_id else freeze(w, run, notes)
    if isinstance(dataset, str):
        return w.store.finish_run(run.id, RunStatus.NOT_ENOUGH, dataset, {})
    candidate = train_candidate(w, run, dataset, notes)
    # One event loop for all talk with the servers: connections belong to the loop they were opened in.
    with asyncio.Runner() as runner:
        return runner.run(_prove_and_swap(w, run, dataset, candidate, notes, lease))


async def _prove_and_swap(
    w: Workshop, run: TrainingRun, dataset: Dataset, candidate: Candidate, notes: Notes, lease: Lease
) -> TrainingRun:
    pool = await VllmPool.connect(w.address.urls, w.address.key)
    try:
        active = w.store.active(run.assistant_id)
        gating = Gating(w, pool, dataset, candidate, active, notes)
        with notes.timed("load"):
            await load_checked(pool, candidate.name, w.adapters, candidate.parity_ids, candidate.parity)
        try:
            with notes.timed("gate"):
                verdict = await gating.judge()
            w.store.keep_gate_answers(run.id, gating.answers())
        except BaseException:
            await pool.unload_adapter(candidate.name)
            raise
        noted = _noted(w, run)
        report = gating.report(verdict) | {
            "dataset": {
                **{s.value: n for s, n in datasets.sizes(dataset.examples).items()},
                "dropped": dataset.dropped,
                "quarantined": noted.get("quarantined", []),
                "replaced": noted.get("replaced", {}),
                "topics": noted.get("topics", 0),
                "largest_topic": noted.get("largest_topic", 0.0),
                "hash": dataset.hash,
            },
            "training": candidate.cost(),
            "environment": environment(w.base),
            "seconds": notes.seconds,
        }
        seen = [
            *contradictions.in_words(noted.get("contradictions", 0)),
            *quarantine.in_words(quarantine.Suspicion(**one) for one in noted.get("quarantined", ())),
        ]
        message = " ".join([*verdict.reasons, *candidate.remarks(), *privacy_remarks(noted), *seen])
        if not verdict.promoted or verdict.chosen is None:
            await pool.unload_adapter(candidate.name)
            asked = w.store.propose(run.id, gating.proposals(verdict))
            report["proposals"] = asked
            message = " ".join([message, *_asking(asked)])
            refused = _deployment(w, run, dataset, candidate, gating.last_tested(verdict))
            w.store.reject(refused.id, message)
            return w.store.finish_run(run.id, RunStatus.REFUSED, message, report)
        try:
            deployment = _deployment(w, run, dataset, candidate, verdict.chosen)
            notes.add("swap", deployment=deployment.id)
            with notes.timed("swap"):
                await swap_in(w.store, pool, w.tokenizer, w.adapters, deployment, active)
        except LeaseLost:
            await pool.unload_adapter(candidate.name)
            raise
        try:  # the swap has happened: what fails from here on does not undo it
            with notes.timed("probe"):
                report["probe"] = await _probe(w, pool, dataset, deployment, notes)
            if (
                lease.still_held()
            ):  # else another trainer's candidate may be loaded, and would be unloaded here
                await unload_older(w.store, pool, run.assistant_id)
        except VllmError as error:
            message += f" The time it saves could not be measured: {error}"
        except (asyncio.CancelledError, KeyboardInterrupt):
            message += " It was stopped before the time it saves was measured."
            w.store.finish_run(run.id, RunStatus.PROMOTED, message, report)
            raise
        return w.store.finish_run(run.id, RunStatus.PROMOTED, message, report)
    finally:
        await pool.close()


def _asking(proposals: int) -> list[str]:
    if not proposals:
        return []
    return [
        f"{proposals} of its answers differ from the approved ones and may be as good: say whether they are on the "
        "Review page, and the next gate counts it."
    ]


def _noted(w: Workshop, run: TrainingRun) -> Mapping[str, Any]:
    """What the run said when it froze its dataset, maybe before it was interrupted."""
    return next((event.data for event in reversed(w.store.events(run.id, "dataset"))), {})


def _deployment(
    w: Workshop, run: TrainingRun, dataset: Dataset, candidate: Candidate, rung: RungVerdict
) -> Deployment:
    return w.store.add_deployment(
        run.assistant_id, dataset.prompt_id, candidate.name, rung.kept, rung.rung, rung.prompt_tokens, run.id
    )


async def _probe(
    w: Workshop, pool: VllmPool, dataset: Dataset, deployment: Deployment, notes: Notes
) -> dict[str, object]:
    """What a request costs now against what it would cost without Shorthand: base model, full prompt."""
    segments = w.store.prompt(dataset.prompt_id).segments
    question = next(e for e in dataset.examples if e.split is Split.GATE).context[-1][1]
    return dict(
        await probe(
            pool,
            w.tokenizer,
            segments,
            {
                "full": (pool.base, [s.id for s in segments]),
                "short": (deployment.adapter or pool.base, deployment.kept),
            },
            question,
            lambda done, total: notes.maybe("probe", done=done, total=total),
        )
    )
