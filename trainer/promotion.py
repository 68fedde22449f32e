"""Evaluates a published candidate at the gate, and deploys it or refuses it with reasons."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from assistant.serving import load_or_lose
from assistant.vllm_client import VllmError
from assistant.vllm_pool import VllmPool
from store.audit import TRAINER, acting
from store.records import Deployment, RunStatus, Split, TrainingRun
from trainer.candidate import Candidate
from trainer.context import Retrain
from trainer.deployment.swap import hot_swap, load_checked, measure_latency, unload_older
from trainer.evaluation.gate_evaluation import GateEvaluation
from trainer.examples import dataset as datasets
from trainer.training.environment import environment


async def evaluate_and_deploy(
    retrain: Retrain,
    candidate: Candidate,
    known_answers: Mapping[str, Mapping[int, str]] = MappingProxyType({}),
    is_second: bool = False,
    passed: int = -1,
) -> TrainingRun:
    """The finished run, promoted or refused; `known_answers`, `is_second` and `passed` as for `GateEvaluation`.

    Raises VllmError, BadAdapter, ParityError, StoreError, UnknownScorer, ScorerFailed. A candidate that is not promoted
    is unloaded.
    """
    context, store, run, progress = retrain.context, retrain.store, retrain.run, retrain.progress
    pool = await VllmPool.connect(context.address.urls, context.address.key, store.messages.streaming_count)
    try:
        active = store.deployments.active(run.assistant_id)
        serving = active and await load_or_lose(store, pool, active, context.adapters, context.base)
        evaluation = GateEvaluation(retrain, pool, candidate, serving, known_answers, is_second, passed)
        if candidate.name is not None:
            with progress.timed("load"):
                await load_checked(
                    pool, candidate.name, context.adapters, candidate.parity_ids, candidate.parity
                )
        with progress.timed("gate"):
            verdict = await evaluation.evaluate()
        store.gate_answers.add(run.id, evaluation.answers())
        report = evaluation.report(verdict) | _report(retrain, candidate)
        message = " ".join([*verdict.reasons, *candidate.notices, *datasets.notices(_dataset_event(retrain))])
        message = message if candidate.training else f"Without training: {message}"
        chosen = verdict.variant
        deployment = store.deployments.add(
            run.assistant_id,
            retrain.dataset.prompt_id,
            candidate.name,
            chosen.segment_ids,
            chosen.variant,
            chosen.prompt_tokens,
            run.id,
            chosen.demonstrations,
            chosen.copy_at,
        )
        if verdict.promoted:
            progress.record("swap", deployment=deployment.id)
            with progress.timed("swap"), acting(TRAINER):
                deployment = await hot_swap(
                    store, pool, context.tokenizer, context.adapters, deployment, active
                )
        asked = store.judgement_requests.add(run.id, evaluation.judgement_requests(verdict))
        message += _asks_people(asked)
        served = deployment if verdict.promoted else active
        # For its re-evaluation.
        report |= {
            "judgement_requests": asked,
            "candidate": asdict(candidate),
            "active": served and served.id,
            "passed": chosen.variant if verdict.promoted else passed,
        }
        if not verdict.promoted:
            return _refuse(retrain, deployment, report, message)
        return await _finish_promoted(retrain, pool, deployment, report, message)
    finally:
        serves = store.deployments.active(run.assistant_id)
        if candidate.name is not None and (serves is None or serves.adapter != candidate.name):
            await pool.unload_adapter(candidate.name)
        await pool.close()


def _refuse(retrain: Retrain, deployment: Deployment, report: dict[str, Any], message: str) -> TrainingRun:
    retrain.store.deployments.reject(deployment.id, message)
    return retrain.store.runs.finish(retrain.run.id, RunStatus.REFUSED, message, report)


def _asks_people(asked: int) -> str:
    if not asked:
        return ""
    these = "this answer is" if asked == 1 else f"these {asked} answers are"
    return (
        f" Say on the Review page whether {these} right. When you have decided about all of them, the candidate is "
        "evaluated again."
    )


async def _finish_promoted(
    retrain: Retrain, pool: VllmPool, deployment: Deployment, report: dict[str, Any], message: str
) -> TrainingRun:
    """Measure what the swap saves; it has happened, and what fails from here on does not undo it."""
    store, run = retrain.store, retrain.run
    try:
        if deployment.copy_at is None:  # else most questions do not reach the model
            with retrain.progress.timed("probe"):
                report["probe"] = await _measure_saving(retrain, pool, deployment)
    except VllmError as error:
        message += f" The time it saves could not be measured: {error}"
    except (asyncio.CancelledError, KeyboardInterrupt):
        message += " It was stopped before the time it saves was measured."
        store.runs.finish(run.id, RunStatus.PROMOTED, message, report)
        raise
    finished = store.runs.finish(run.id, RunStatus.PROMOTED, message, report)
    with suppress(VllmError):
        await unload_older(store, pool, run.assistant_id)
    return finished


def _report(retrain: Retrain, candidate: Candidate) -> dict[str, Any]:
    """What the run was made from and what it took, as plain JSON."""
    dataset, frozen = retrain.dataset, _dataset_event(retrain)
    return {
        "dataset": {
            **datasets.sizes(dataset.examples),
            "dropped": dataset.dropped,
            "outlier_raters": frozen.get("outlier_raters", []),
            "replaced": frozen.get("replaced", {}),
            "hash": dataset.hash,
        },
        "training": dict(candidate.training),
        "environment": environment(retrain.context.base),
        "seconds": retrain.progress.seconds,
    }


def _dataset_event(retrain: Retrain) -> Mapping[str, Any]:
    """What the run recorded when it froze its dataset, maybe before it was interrupted."""
    return next((event.data for event in reversed(retrain.store.runs.events(retrain.run.id, "dataset"))), {})


async def _measure_saving(retrain: Retrain, pool: VllmPool, deployment: Deployment) -> dict[str, Any]:
    """What a request costs now against what it would cost without Shorthand: base model, full prompt."""
    segments = retrain.store.prompts.get(deployment.prompt_id).segments
    question = next(e for e in retrain.dataset.examples if e.split is Split.GATE).context[-1][1]
    variants = {
        "full": (pool.base, [segment.id for segment in segments]),
        "short": (deployment.adapter or pool.base, deployment.segment_ids),
    }
    counter = retrain.progress.counter("probe")
    return await measure_latency(pool, retrain.context.tokenizer, segments, variants, question, counter)
