"""Evaluates a published candidate at the gate, and deploys it or refuses it with reasons."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from assistant.vllm_client import VllmError
from assistant.vllm_pool import VllmPool
from store.audit import TRAINER, acting
from store.errors import LeaseLost
from store.records import Dataset, Deployment, RunStatus, Split, TrainingRun
from trainer.candidate import Candidate
from trainer.context import RunProgress, TrainingContext
from trainer.deployment.latency import measure_latency
from trainer.deployment.swap import load_checked, swap_in, unload_older
from trainer.evaluation.gate import VariantVerdict, Verdict
from trainer.evaluation.gate_evaluation import GateEvaluation
from trainer.examples import dataset as datasets
from trainer.lease import Lease
from trainer.training.environment import environment


async def evaluate_and_deploy(
    context: TrainingContext,
    run: TrainingRun,
    dataset: Dataset,
    candidate: Candidate,
    progress: RunProgress,
    lease: Lease,
    known_answers: Mapping[str, Mapping[int, str]] | None = None,
) -> TrainingRun:
    """The finished run, promoted or refused; `known_answers` as for `GateEvaluation`.

    Raises VllmError, BadAdapter, ParityError, StoreError, UnknownScorer, ScorerFailed; the candidate is unloaded then.
    """
    pool = await VllmPool.connect(
        context.address.urls, context.address.key, context.store.messages.streaming_count
    )
    try:
        active = context.store.deployments.active(run.assistant_id)
        evaluation = GateEvaluation(context, pool, dataset, candidate, active, progress, known_answers)
        with progress.timed("load"):
            await load_checked(pool, candidate.name, context.adapters, candidate.parity_ids, candidate.parity)
        try:
            with progress.timed("gate"):
                verdict = await evaluation.evaluate()
            context.store.gate_answers.add(run.id, evaluation.answers())
        except BaseException:
            await pool.unload_adapter(candidate.name)
            raise
        report, message = _report(context, run, dataset, candidate, evaluation, verdict, progress)
        if not verdict.promoted or verdict.chosen is None:
            await pool.unload_adapter(candidate.name)
            asked = context.store.judgement_requests.add(run.id, evaluation.judgement_requests(verdict))
            report |= {
                "judgement_requests": asked,
                "candidate": asdict(candidate),
                "active": active and active.id,
            }
            message = " ".join([message, *_request_for_judgements(asked)])
            refused = _add_deployment(context, run, dataset, candidate, evaluation.last_tested(verdict))
            context.store.deployments.reject(refused.id, message)
            return context.store.runs.finish(run.id, RunStatus.REFUSED, message, report)
        deployment = _add_deployment(context, run, dataset, candidate, verdict.chosen)
        progress.record("swap", deployment=deployment.id)
        try:
            with progress.timed("swap"), acting(TRAINER):
                await swap_in(context.store, pool, context.tokenizer, context.adapters, deployment, active)
        except LeaseLost:
            await pool.unload_adapter(candidate.name)
            raise
        return await _finish_promoted(
            context, run, pool, dataset, deployment, progress, lease, report, message
        )
    finally:
        await pool.close()


async def _finish_promoted(
    context: TrainingContext,
    run: TrainingRun,
    pool: VllmPool,
    dataset: Dataset,
    deployment: Deployment,
    progress: RunProgress,
    lease: Lease,
    report: dict[str, Any],
    message: str,
) -> TrainingRun:
    """Measure what the swap saves; it has happened, and what fails from here on does not undo it."""
    try:
        with progress.timed("probe"):
            report["probe"] = await _measure_saving(context, pool, dataset, deployment, progress)
        if lease.still_held():  # else another trainer's candidate may be loaded, and would be unloaded here
            await unload_older(context.store, pool, run.assistant_id)
    except VllmError as error:
        message += f" The time it saves could not be measured: {error}"
    except (asyncio.CancelledError, KeyboardInterrupt):
        message += " It was stopped before the time it saves was measured."
        context.store.runs.finish(run.id, RunStatus.PROMOTED, message, report)
        raise
    return context.store.runs.finish(run.id, RunStatus.PROMOTED, message, report)


def _report(
    context: TrainingContext,
    run: TrainingRun,
    dataset: Dataset,
    candidate: Candidate,
    evaluation: GateEvaluation,
    verdict: Verdict,
    progress: RunProgress,
) -> tuple[dict[str, Any], str]:
    """The report as plain JSON, and the message for people."""
    frozen = _dataset_event(context, run)
    report = evaluation.report(verdict) | {
        "dataset": {
            **datasets.sizes(dataset.examples),
            "dropped": dataset.dropped,
            "outlier_raters": frozen.get("outlier_raters", []),
            "replaced": frozen.get("replaced", {}),
            "hash": dataset.hash,
        },
        "training": dict(candidate.training),
        "environment": environment(context.base),
        "seconds": progress.seconds,
    }
    return report, " ".join([*verdict.reasons, *candidate.remarks, *datasets.remarks(frozen)])


def _request_for_judgements(count: int) -> list[str]:
    if not count:
        return []
    return [
        f"{count} of its answers differ from the approved ones and may be as good: say whether they are on the "
        "Review page. When you have decided about all of them, the candidate is evaluated again."
    ]


def _dataset_event(context: TrainingContext, run: TrainingRun) -> Mapping[str, Any]:
    """What the run recorded when it froze its dataset, maybe before it was interrupted."""
    return next((event.data for event in reversed(context.store.runs.events(run.id, "dataset"))), {})


def _add_deployment(
    context: TrainingContext,
    run: TrainingRun,
    dataset: Dataset,
    candidate: Candidate,
    variant: VariantVerdict,
) -> Deployment:
    return context.store.deployments.add(
        run.assistant_id,
        dataset.prompt_id,
        candidate.name,
        variant.segment_ids,
        variant.variant,
        variant.prompt_tokens,
        run.id,
    )


async def _measure_saving(
    context: TrainingContext, pool: VllmPool, dataset: Dataset, deployment: Deployment, progress: RunProgress
) -> dict[str, Any]:
    """What a request costs now against what it would cost without Shorthand: base model, full prompt."""
    segments = context.store.prompts.get(dataset.prompt_id).segments
    question = next(e for e in dataset.examples if e.split is Split.GATE).context[-1][1]
    variants = {
        "full": (pool.base, [segment.id for segment in segments]),
        "short": (deployment.adapter or pool.base, deployment.segment_ids),
    }
    return await measure_latency(
        pool, context.tokenizer, segments, variants, question, progress.counter("probe")
    )
