"""A dataset draft for the model that is served, and its snapshot in the store."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from assistant import rendering
from store.records import Dataset, TrainingRun
from trainer.context import RunProgress, TrainingContext
from trainer.examples.dataset import shortage, sizes
from trainer.examples.draft import DatasetDraft, draft
from trainer.examples.records import CollectedAnswer, Context, DropReason

_DUPLICATES = (DropReason.NEAR_GATE, DropReason.SIMILAR, DropReason.OVER_MAX)


def draft_for_model(context: TrainingContext, assistant_id: str) -> DatasetDraft:
    """The draft with contexts as chat sends them: the oldest turns go where they outgrow the model's context.

    Raises as `draft`.
    """
    segments = context.store.prompts.latest(assistant_id).segments
    room = context.address.context - context.settings.max_answer_tokens

    def fitted(one: CollectedAnswer) -> Context | None:
        turns = rendering.fit(context.tokenizer, segments, one.context, room)
        return None if turns is None else tuple(turns)

    return draft(context.store, assistant_id, context.settings, fitted)


def snapshot(context: TrainingContext, run: TrainingRun, progress: RunProgress) -> Dataset | str:
    """Record the splits and the dataset; or say how many more examples are needed. Raises as `draft`."""
    found = draft_for_model(context, run.assistant_id)
    context.store.splits.record(found.splits)
    progress.record("dataset", **_record(found))
    missing = shortage(found.examples, context.settings)
    if missing:
        return missing
    reasons = {id: reason.value for id, reason in found.dropped.items()}
    dataset = context.store.datasets.add(
        run.assistant_id, found.prompt_id, found.hash, found.examples, found.counts, reasons
    )
    context.store.runs.update(run.id, dataset_id=dataset.id)
    return dataset


def _record(found: DatasetDraft) -> dict[str, Any]:
    return {
        **{split.value: count for split, count in sizes(found.examples).items()},
        "distillation_examples": sum(not example.approved for example in found.examples),
        "teacher_approval": found.collection.teacher_approval,
        "dropped": found.counts,
        "outgrown": list(found.outgrown),
        "duplicates": sorted(id for id, reason in found.dropped.items() if reason in _DUPLICATES),
        "replaced": found.replaced(),
        "unasked": len(found.redacted.unasked),
        "outlier_raters": [asdict(one) for one in found.collection.outlier_raters],
        "contradictions": found.contradictions(),
    }
