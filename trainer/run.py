"""One retrain, from the rated answers in the store to an active deployment or a refusal with reasons.

In: a workshop and an assistant. Out: a finished TrainingRun. Place in the flow: it walks every step and writes
down how far it got; each step's own work is in its own module.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace

from assistant.adapter_files import BadAdapter
from assistant.rendering import fit
from assistant.vllm_client import VllmError
from assistant.vllm_pool import VllmPool
from store import StoreError
from store.records import Dataset, Deployment, RunStatus, Split, TrainingRun
from trainer import dataset as datasets
from trainer.candidate import Candidate, train_candidate
from trainer.finetune import TrainingDiverged
from trainer.gate import RungVerdict
from trainer.gating import Gating
from trainer.lease import Lease
from trainer.lora import NothingToTrain
from trainer.notes import Notes
from trainer.probe import probe
from trainer.scorers import ScorerFailed, UnknownScorer
from trainer.selection import Approved, Drop, select
from trainer.splits import assign
from trainer.swap import ParityError, check_base_is_base, check_parity, hot_swap, unload_older
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
)


def run_once(workshop: Workshop, assistant_id: str, trigger: str) -> TrainingRun:
    """Retrain once. A shortage or a refusal is a finished run, and a fault of the outside world a failed one.

    Raises LeaseTaken when another trainer works on this data directory.
    """
    store = workshop.store
    with Lease(store) as lease:
        run = store.start_run(assistant_id, workshop.settings.as_record(), trigger)
        try:
            return _walk(workshop, run, lease)
        except _EXPECTED as error:
            return store.finish_run(run.id, RunStatus.FAILED, str(error), {})
        except KeyboardInterrupt:
            store.finish_run(run.id, RunStatus.INTERRUPTED, "Interrupted from the keyboard.", {})
            raise
        except BaseException as error:
            store.finish_run(run.id, RunStatus.FAILED, f"{type(error).__name__}: {error}", {})
            raise
        finally:
            shutil.rmtree(workshop.work_dir(run.id), ignore_errors=True)


def _walk(w: Workshop, run: TrainingRun, lease: Lease) -> TrainingRun:
    notes = Notes(w.store, run.id)
    with notes.timed("dataset"):
        dataset = freeze_dataset(w, run, notes)
    if isinstance(dataset, str):
        return w.store.finish_run(run.id, RunStatus.NOT_ENOUGH, dataset, {})
    candidate = train_candidate(w, run, dataset, notes)
    # One event loop for all talk with the servers: connections belong to the loop they were opened in.
    with asyncio.Runner() as runner:
        return runner.run(_prove_and_swap(w, run, dataset, candidate, notes, lease))


def freeze_dataset(w: Workshop, run: TrainingRun, notes: Notes) -> Dataset | str:
    """Select, split and freeze; or the sentence that says how many more examples are needed."""
    answers = w.store.rated_answers(run.assistant_id)
    approved, dropped = select(answers, w.settings.max_answer_characters)
    approved = _fit_to_context(w, run.assistant_id, approved, dropped)
    questions = {item.answer.conversation_id: item.answer.context[0][1] for item in approved}
    splits = w.store.record_splits(assign(questions, w.store.splits(run.assistant_id)))
    examples = datasets.make_examples(approved, splits)
    counts = datasets.sizes(examples)
    rules: dict[str, int] = {}
    for rule in dropped.values():
        rules[rule.value] = rules.get(rule.value, 0) + 1
    notes.add("dataset", **{split.value: count for split, count in counts.items()}, dropped=rules)
    missing = datasets.shortage(examples, w.settings)
    if missing:
        return missing
    prompt = w.store.latest_prompt(run.assistant_id)
    dataset = w.store.add_dataset(
        run.assistant_id, prompt.id, datasets.content_hash(examples), examples, rules
    )
    w.store.update_run(run.id, dataset_id=dataset.id)
    return dataset


def _fit_to_context(
    w: Workshop, assistant_id: str, approved: list[Approved], dropped: dict[str, Drop]
) -> list[Approved]:
    """Contexts as chat would send them under the full prompt: without the oldest turns, when they outgrow the model."""
    segments = w.store.latest_prompt(assistant_id).segments
    room = w.address.context - w.settings.max_answer_tokens
    fitting = []
    for item in approved:
        context = fit(w.tokenizer, segments, item.answer.context, room)
        if context is None:
            dropped[item.answer.message_id] = Drop.OUTGROWN
        else:
            fitting.append(replace(item, answer=replace(item.answer, context=tuple(context))))
    return fitting


async def _prove_and_swap(
    w: Workshop, run: TrainingRun, dataset: Dataset, candidate: Candidate, notes: Notes, lease: Lease
) -> TrainingRun:
    pool = await VllmPool.connect(w.address.urls, w.address.key)
    try:
        active = w.store.active(run.assistant_id)
        gating = Gating(w, pool, dataset, candidate, active, notes)
        try:
            with notes.timed("load"):
                await pool.load_adapter(candidate.name, str((w.adapters / candidate.name).resolve()))
                await check_parity(pool, candidate.name, candidate.parity_ids, candidate.parity)
                await check_base_is_base(pool, candidate.parity_ids, candidate.name)
            with notes.timed("gate"):
                verdict = await gating.judge()
        except BaseException:
            await pool.unload_adapter(candidate.name)
            raise
        report = gating.report(verdict) | {
            "dataset": {
                **{s.value: n for s, n in datasets.sizes(dataset.examples).items()},
                "dropped": dataset.dropped,
                "hash": dataset.hash,
            },
            "training": candidate.cost(),
            "seconds": notes.seconds,
        }
        message = " ".join(verdict.reasons)
        if not verdict.promoted or verdict.chosen is None:
            await pool.unload_adapter(candidate.name)
            refused = _deployment(w, run, dataset, candidate, gating.last_tested(verdict))
            w.store.reject(refused.id, message)
            return w.store.finish_run(run.id, RunStatus.REFUSED, message, report)
        if not lease.still_held():
            await pool.unload_adapter(candidate.name)
            message = "The trainer lost its lease (it was paused for over a minute), so nothing was swapped."
            return w.store.finish_run(run.id, RunStatus.FAILED, message, report)
        deployment = _deployment(w, run, dataset, candidate, verdict.chosen)
        notes.add("swap", deployment=deployment.id)
        try:
            with notes.timed("swap"):
                await hot_swap(w.store, pool, w.tokenizer, deployment, active)
        except (VllmError, StoreError) as error:
            await pool.unload_adapter(candidate.name)
            w.store.reject(deployment.id, str(error))
            raise
        try:  # the swap has happened: what fails from here on does not undo it
            with notes.timed("probe"):
                report["probe"] = await _probe(w, pool, dataset, deployment, notes)
            await unload_older(w.store, pool, run.assistant_id)
        except VllmError as error:
            message += f" The time it saves could not be measured: {error}"
        return w.store.finish_run(run.id, RunStatus.PROMOTED, message, report)
    finally:
        await pool.close()


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
