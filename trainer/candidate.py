"""A frozen dataset to a published adapter with its prompt variants.

In: a workshop, a run, a dataset. Out: a `Published` candidate. Place in the flow: between `dataset` and `gate`; it
walks the modules that pull in torch. Talks to no server.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from assistant.rendering import keep, render, segment_tokens
from store.records import Dataset, Example, Segment, Split, TrainingRun
from trainer.context import TrainingContext
from trainer.environment import PHASE, environment
from trainer.evaluation.helpfulness import measure_helpfulness, measure_losses
from trainer.evaluation.variants import build_variants
from trainer.notes import Notes
from trainer.training.candidate import Candidate
from trainer.training.finetune import Course, Trained, finetune
from trainer.training.packing import TopK
from trainer.training.publish import publish_run
from trainer.training.ranks import dismiss
from trainer.training.rows import dev_rows, train_rows
from trainer.training.teacher import consult

_PARITY_TOKENS = 8


def train_candidate(w: TrainingContext, run: TrainingRun, dataset: Dataset, notes: Notes) -> Candidate:
    """Train on the train split, stop on dev, publish under a new name, build the variants on dev.

    Raises TrainingDiverged, BadAdapter, OSError.
    """
    segments = w.store.prompts.get(dataset.prompt_id).segments
    dev = [e for e in dataset.examples if e.split is Split.DEV]
    notes.add(PHASE, **environment(w.base))
    with notes.timed("teacher"):
        course = make_course(
            w,
            dataset,
            w.work_dir(run.id),
            lambda done, total: notes.maybe("teacher", done=done, total=total),
        )
    with notes.timed("train"):
        trained = finetune(course, lambda note: notes.add(**{"phase": "train", **note}))
    dismiss()
    with notes.timed("publish"):
        name = publish_run(w.store, run, trained.model, w.adapters, w.base)
        notes.add("publish", adapter=name)
    with notes.timed("variants"):

        def told(done: int, total: int) -> None:
            notes.maybe("variants", done=done, total=total)

        helpfulness = measure_helpfulness(trained.model, w.tokenizer, segments, dev, told)
        variants = build_variants(
            segments, segment_tokens(w.tokenizer, segments), helpfulness, w.settings.variants
        )
        prompts = [keep(segments, segment_ids) for segment_ids in variants]
        losses = measure_losses(trained.model, w.tokenizer, prompts, dev, told)
        notes.add("variants", helpfulness=helpfulness, dev_losses=losses)
    question = render(w.tokenizer, (), dev[0].context).ids
    return Candidate(
        name=name,
        variants=tuple(tuple(segment_ids) for segment_ids in variants),
        dev_losses=tuple(losses),
        parity_ids=question,
        parity=tuple(_continue_greedily(trained.model, question)),
        training=_cost(trained, w.settings.learning_rate),
        remarks=_remarks(trained),
    )


def _cost(trained: Trained, learning_rate: float) -> dict[str, Any]:
    """What the training took and how it went; memory in MiB at its peak."""
    return {
        "steps": trained.steps,
        "tokens_per_s": round(trained.tokens_per_s),
        "seconds": round(trained.seconds, 1),
        "resumed_at": trained.resumed_at,
        "learning_rate": learning_rate,
        "first_dev_loss": trained.first_dev_loss,
        "dev_loss": trained.dev_loss,
        "stopped_early": trained.stopped_early,
        **trained.curve.as_record(),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _remarks(trained: Trained) -> tuple[str, ...]:
    if trained.curve.overfit_from is None:
        return ()
    return (
        f"Training overfitted from epoch {trained.curve.overfit_from} on; the adapter is that of epoch "
        f"{trained.curve.best_epoch}, the best on dev.",
    )


def make_course(
    w: TrainingContext,
    dataset: Dataset,
    work_dir: Path,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Course:
    """A frozen dataset to what is stepped through: the same for a run and for its rerun.

    `told` gets (done, total) of the answers that the teacher is asked about.
    """
    segments = w.store.prompts.get(dataset.prompt_id).segments
    train = [e for e in dataset.examples if e.split is Split.TRAIN]
    dev = [e for e in dataset.examples if e.split is Split.DEV]
    teachers = _teachers(w, segments, train, told)
    rows, ends = train_rows(w.tokenizer, segments, train, w.settings, teachers)
    measured = dev_rows(w.tokenizer, segments, dev)
    return Course(w.model_dir, rows, ends, measured, w.settings, work_dir)


def _teachers(
    w: TrainingContext,
    segments: Sequence[Segment],
    examples: Sequence[Example],
    told: Callable[[int, int], None],
) -> dict[str, TopK]:
    """Message id -> what the teacher thinks of its own answer."""
    from_teacher = [example for example in examples if example.from_teacher]
    if not from_teacher or w.settings.distillation == 0:
        return {}
    said = consult(w.model_dir, w.base, w.tokenizer, segments, from_teacher, w.teacher_file, told)
    return {
        example.message_id: replace(topk, weight=w.settings.distillation)
        for example, topk in zip(from_teacher, said, strict=True)
    }


def _continue_greedily(model: Any, ids: tuple[int, ...]) -> list[tuple[int, float]]:
    """The next tokens under the trained model, each with its ln p."""
    following: list[tuple[int, float]] = []
    with torch.no_grad():
        for _ in range(_PARITY_TOKENS):
            tokens = torch.tensor([[*ids, *(token for token, _ in following)]], device=model.device)
            ln_p = model(input_ids=tokens).logits[0, -1].float().log_softmax(-1)
            best = int(ln_p.argmax())
            following.append((best, float(ln_p[best])))
    return following
