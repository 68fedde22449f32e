"""Trains an adapter on a frozen dataset, publishes it, and builds its prompt variants. Talks to no server."""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from assistant.rendering import keep, render, segment_tokens
from assistant.retrieval import DEMONSTRATIONS
from store.records import Dataset, Example, Split, Variant
from trainer.context import Retrain, TrainingContext
from trainer.evaluation.variants import build_variants, measure_importance, measure_loss, with_demonstrations
from trainer.examples.demonstrations import nearest_train_examples
from trainer.training.distributed import shut_down
from trainer.training.environment import PHASE, environment
from trainer.training.finetune import TrainingJob, finetune
from trainer.training.publish import publish_run
from trainer.training.rows import Shown, dev_rows, train_rows

_PARITY_TOKENS = 8


@dataclass(frozen=True)
class Candidate:
    """An adapter on disk with its variants, as plain JSON values: what the gate needs, now or at its re-evaluation.

    `name` is None for the base model.
    """

    name: str | None
    # The full prompt without demonstrations first, then the one with most tokens.
    variants: Sequence[Variant]
    # Of each variant, in nats per answer token.
    dev_losses: Sequence[float]
    # A prompt, and the tokens that follow it greedily in the trainer, each with its ln p.
    parity_ids: Sequence[int]
    parity: Sequence[tuple[int, float]]
    # What it took and how it went, for the report.
    training: Mapping[str, Any]
    # What a person should know about the training beside the gate's verdict.
    remarks: Sequence[str]


def train_candidate(retrain: Retrain) -> Candidate:
    """Train on the train split, stop on dev, publish under a new name, build the variants on dev.

    Raises TrainingDiverged, BadAdapter, OSError.
    """
    context, run, progress = retrain.context, retrain.run, retrain.progress
    progress.record(PHASE, **environment(context.base))
    job = build_job(context, retrain.dataset, context.work_dir(run.id))
    with progress.timed("train"):
        trained = finetune(job, lambda note: progress.record("train", **note))
    shut_down()
    with progress.timed("publish"):
        name = publish_run(context.store, run, trained.model, context.adapters, context.base)
        progress.record("publish", adapter=name)
    with progress.timed("variants"):
        variants, losses = _build_variants(retrain, trained.model, job.shown)
    question = render(context.tokenizer, (), _split(retrain.dataset, Split.DEV)[0].context).ids
    return Candidate(
        name=name,
        variants=variants,
        dev_losses=losses,
        parity_ids=question,
        parity=continue_greedily(trained.model, question),
        training={
            **trained.as_record(),
            "learning_rate": context.settings.learning_rate,
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        },
        remarks=trained.remarks(),
    )


def build_job(context: TrainingContext, dataset: Dataset, work_dir: Path) -> TrainingJob:
    """What is trained on, step by step: the same for a run and for its rerun."""
    segments = context.store.prompts.get(dataset.prompt_id).segments
    train = _split(dataset, Split.TRAIN)
    shown = nearest_train_examples(context.retriever.embedder, dataset.examples, DEMONSTRATIONS)
    rows, ends = train_rows(context.tokenizer, segments, train, context.settings, shown)
    dev = dev_rows(context.tokenizer, segments, _split(dataset, Split.DEV), shown)
    return TrainingJob(context.model_dir, rows, ends, dev, context.settings, work_dir, shown=shown)


def _split(dataset: Dataset, split: Split) -> list[Example]:
    return [example for example in dataset.examples if example.split is split]


def _build_variants(retrain: Retrain, model: Any, shown: Shown) -> tuple[list[Variant], list[float]]:
    """The variants by the importance of each segment on dev, and the dev loss of each variant."""
    tokenizer, settings = retrain.context.tokenizer, retrain.context.settings
    segments = retrain.store.prompts.get(retrain.dataset.prompt_id).segments
    dev, counter = _split(retrain.dataset, Split.DEV), retrain.progress.counter("variants")
    importance = measure_importance(model, tokenizer, segments, dev, counter)
    prompts = build_variants(segments, segment_tokens(tokenizer, segments), importance, settings.variants)
    variants = with_demonstrations(prompts, DEMONSTRATIONS if shown else 0)
    losses = [
        measure_loss(
            model, tokenizer, keep(segments, one.segment_ids), dev, shown if one.demonstrations else {}
        )
        for one in variants
    ]
    retrain.progress.record("variants", importance=importance, dev_losses=losses)
    return variants, losses


def continue_greedily(model: Any, ids: tuple[int, ...]) -> list[tuple[int, float]]:
    """The next tokens under a trained model, each with its ln p: what the server must give as well."""
    following: list[tuple[int, float]] = []
    with torch.no_grad():
        for _ in range(_PARITY_TOKENS):
            tokens = torch.tensor([[*ids, *(token for token, _ in following)]], device=model.device)
            ln_p = model(input_ids=tokens).logits[0, -1].float().log_softmax(-1)
            best = int(ln_p.argmax())
            following.append((best, float(ln_p[best])))
    return following
