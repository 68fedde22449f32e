"""A published candidate to an active deployment, or to a refusal with reasons.

In: a run with its dataset and candidate. Out: the finished run. Place in the flow: the second half of `run`, after the
training; a candidate that is heard again goes through it once more. Does not know how the candidate was trained.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from assistant.vllm_client import VllmError
from assistant.vllm_pool import VllmPool
from store.audit import TRAINER, acting
from store.errors import LeaseLost
from store.records import Dataset, Deployment, RunStatus, Split, TrainingRun
from trainer.context import TrainingContext
from trainer.deployment.probe import probe
from trainer.deployment.swap import load_checked, swap_in, unload_older
from trainer.environment import environment
from trainer.evaluation.gate import VariantVerdict
from trainer.evaluation.gating import Gating
from trainer.examples import contradictions, quarantine
from trainer.examples import dataset as datasets
from trainer.lease import Lease
from trainer.notes import Notes
from trainer.redaction.examples import remarks
from trainer.training.candidate import Candidate


async def prove(
    w: TrainingContext,
    run: TrainingRun,
    dataset: Dataset,
    candidate: Candidate,
    notes: Notes,
    lease: Lease,
    heard: Mapping[str, Mapping[int, str]] | None = None,
) -> TrainingRun:
    """The finished run, promoted or refused; `heard` as for `Gating`.

    Raises VllmError, BadAdapter, ParityError, StoreError, UnknownScorer, ScorerFailed; the candidate is unloaded then.
    """
    pool = await VllmPool.connect(w.address.urls, w.address.key, w.store.messages.streaming_count)
    try:
        active = w.store.deployments.active(run.assistant_id)
        gating = Gating(w, pool, dataset, candidate, active, notes, heard)
        with notes.timed("load"):
            await load_checked(pool, candidate.name, w.adapters, candidate.parity_ids, candidate.parity)
        try:
            with notes.timed("gate"):
                verdict = await gating.judge()
            w.store.gate_answers.add(run.id, gating.answers())
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
            "training": dict(candidate.training),
            "environment": environment(w.base),
            "seconds": notes.seconds,
        }
        seen = [
            *contradictions.in_words(noted.get("contradictions", 0)),
            *quarantine.in_words(quarantine.Suspicion(**one) for one in noted.get("quarantined", ())),
        ]
        message = " ".join([*verdict.reasons, *candidate.remarks, *remarks(noted.get("unasked", 0)), *seen])
        if not verdict.promoted or verdict.chosen is None:
            await pool.unload_adapter(candidate.name)
            asked = w.store.judgement_requests.add(run.id, gating.judgement_requests(verdict))
            report |= {
                "judgement_requests": asked,
                "candidate": candidate.as_record(),
                "active": active and active.id,
            }
            message = " ".join([message, *_asking(asked)])
            refused = _deployment(w, run, dataset, candidate, gating.last_tested(verdict))
            w.store.deployments.reject(refused.id, message)
            return w.store.runs.finish(run.id, RunStatus.REFUSED, message, report)
        try:
            deployment = _deployment(w, run, dataset, candidate, verdict.chosen)
            notes.add("swap", deployment=deployment.id)
            with notes.timed("swap"), acting(TRAINER):
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
            w.store.runs.finish(run.id, RunStatus.PROMOTED, message, report)
            raise
        return w.store.runs.finish(run.id, RunStatus.PROMOTED, message, report)
    finally:
        await pool.close()


def _asking(judgement_requests: int) -> list[str]:
    if not judgement_requests:
        return []
    return [
        f"{judgement_requests} of its answers differ from the approved ones and may be as good: say whether they are on the "
        "Review page. When you have decided about all of them, the candidate is heard again."
    ]


def _noted(w: TrainingContext, run: TrainingRun) -> Mapping[str, Any]:
    """What the run said when it froze its dataset, maybe before it was interrupted."""
    return next((event.data for event in reversed(w.store.runs.events(run.id, "dataset"))), {})


def _deployment(
    w: TrainingContext, run: TrainingRun, dataset: Dataset, candidate: Candidate, variant: VariantVerdict
) -> Deployment:
    return w.store.deployments.add(
        run.assistant_id,
        dataset.prompt_id,
        candidate.name,
        variant.segment_ids,
        variant.variant,
        variant.prompt_tokens,
        run.id,
    )


async def _probe(
    w: TrainingContext, pool: VllmPool, dataset: Dataset, deployment: Deployment, notes: Notes
) -> dict[str, object]:
    """What a request costs now against what it would cost without Shorthand: base model, full prompt."""
    segments = w.store.prompts.get(dataset.prompt_id).segments
    question = next(e for e in dataset.examples if e.split is Split.GATE).context[-1][1]
    return dict(
        await probe(
            pool,
            w.tokenizer,
            segments,
            {
                "full": (pool.base, [s.id for s in segments]),
                "short": (deployment.adapter or pool.base, deployment.segment_ids),
            },
            question,
            lambda done, total: notes.maybe("probe", done=done, total=total),
        )
    )
