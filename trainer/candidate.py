"""Builds candidates and their prompt variants: an adapter is trained on a frozen dataset and published. Two need no
training: the base model with approved answers before each question and less of the prompt, and after an edit of the
prompt what was served before it. Talks to no server.

With 225 approved answers of Banking77 the five nearest alone brought 44 % of the test questions right in 180 tokens,
the full prompt 5 % in 825. So the first saving comes minutes after the first ratings.
"""

import resource
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from peft import PeftModel

from assistant.adapter_files import verify
from assistant.rendering import keep, prompt_tokens, render, segment_tokens
from assistant.retrieval import DEMONSTRATIONS
from assistant.serving import MAX_RANK
from store import StoreError
from store.demonstrations import Demonstration
from store.records import Dataset, Deployment, Example, SegmentKind, Split, Variant
from trainer.context import Retrain, TrainingContext
from trainer.evaluation.variants import (
    begins_shortened,
    build_variants,
    measure_importance,
    measure_loss,
    with_demonstrations,
)
from trainer.examples.demonstrations import nearest_train_examples, refresh
from trainer.prompt_edit import segments_after_edit
from trainer.redaction.entities import RedactionError
from trainer.training.distributed import shut_down
from trainer.training.environment import PHASE, environment
from trainer.training.finetune import TrainingJob, finetune
from trainer.training.lora import load_base
from trainer.training.publish import publish_run
from trainer.training.rows import Shown, dev_rows, train_rows

_PARITY_TOKENS = 8
_LOOKED_AT = 100  # approved answers by which the tokens of all are estimated


@dataclass(frozen=True)
class Candidate:
    """An adapter on disk with its variants, as plain JSON values: what the gate needs, now or at its re-evaluation."""

    name: str | None  # None is the base model
    variants: Sequence[Variant]  # the full prompt without demonstrations first, then the one with most tokens
    dev_losses: Sequence[float]  # of each variant, in nats per answer token
    parity_ids: Sequence[int]  # a prompt
    parity: Sequence[tuple[int, float]]  # the tokens that follow it greedily in the trainer, with their ln p
    training: Mapping[str, Any]  # what it took and how it went, for the report
    notices: Sequence[str]  # what a person should know beside the gate's verdict


def train_candidate(retrain: Retrain) -> Candidate:
    """Train on the train split, publish under a new name, build the variants on dev.

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
        found = _with_variants(retrain, name, trained.model, job.shown)
        progress.record("variants", dev_losses=found.dev_losses)
    training = {
        **trained.as_record(),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    return replace(found, training=training)


def build_job(context: TrainingContext, dataset: Dataset, work_dir: Path) -> TrainingJob:
    """What is trained on, step by step: the same for a run and for its rerun."""
    segments = context.store.prompts.get(dataset.prompt_id).segments
    train = in_split(dataset, Split.TRAIN)
    shown = nearest_train_examples(context.retriever.embedder, dataset.examples, DEMONSTRATIONS)
    rows, ends = train_rows(context.tokenizer, segments, train, context.settings, shown)
    dev = dev_rows(context.tokenizer, segments, in_split(dataset, Split.DEV))
    return TrainingJob(context.model_dir, rows, ends, dev, context.settings, work_dir, shown=shown)


def in_split(dataset: Dataset, split: Split) -> list[Example]:
    return [example for example in dataset.examples if example.split is split]


def _with_variants(retrain: Retrain, name: str, model: Any, shown: Shown) -> Candidate:
    """The candidate with the full prompt and the shortest one; where the gate would begin with the full one, also with
    prompts in between, by the importance of each segment on dev. On the sample that took 150 s of 205.
    """
    tokenizer, settings = retrain.context.tokenizer, retrain.context.settings
    segments = retrain.store.prompts.get(retrain.dataset.prompt_id).segments
    dev, demonstrations = in_split(retrain.dataset, Split.DEV), DEMONSTRATIONS if shown else 0
    shortest = tuple(segment.id for segment in segments if segment.protected)
    ends = list(dict.fromkeys([tuple(segment.id for segment in segments), shortest]))
    found = measured_candidate(retrain, name, model, with_demonstrations(ends, demonstrations), shown)
    if begins_shortened(found.dev_losses):
        return found
    importance = measure_importance(model, tokenizer, segments, dev, retrain.progress.counter("variants"))
    retrain.progress.record("variants", importance=importance)
    prompts = build_variants(segments, segment_tokens(tokenizer, segments), importance, settings.variants)
    return measured_candidate(retrain, name, model, with_demonstrations(prompts, demonstrations), shown)


def measured_candidate(
    retrain: Retrain, name: str | None, model: Any, variants: Sequence[Variant], shown: Shown
) -> Candidate:
    """What `model` says: the dev loss of each variant, and what the server must say as well of an adapter."""
    tokenizer, dev = retrain.context.tokenizer, in_split(retrain.dataset, Split.DEV)
    segments = retrain.store.prompts.get(retrain.dataset.prompt_id).segments
    counter, losses = retrain.progress.counter("variants"), []
    for done, one in enumerate(variants, start=1):
        sent = keep(segments, one.segment_ids)
        losses.append(measure_loss(model, tokenizer, sent, dev, shown if one.demonstrations else {}))
        counter(done, len(variants))
    question = render(tokenizer, (), dev[0].context).ids if name is not None else ()
    parity = continue_greedily(model, question) if name is not None else []
    return Candidate(name, variants, losses, question, parity, training={}, notices=())


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


def is_worth_trying(context: TrainingContext, assistant_id: str) -> bool:
    """Whether the base model is served with a prompt that takes more tokens than approved answers would."""
    store, tokenizer = context.store, context.tokenizer
    active = store.deployments.active(assistant_id)
    if active is None or active.adapter is not None or active.variant:
        return False
    known = approved_now(context, assistant_id)[-_LOOKED_AT:]
    if not known:
        return False
    tokens = [len(tokenizer.encode_text(f"{one.question}{one.answer}")) for one in known]
    protected = [one for one in store.prompts.get(active.prompt_id).segments if one.protected]
    shortest = prompt_tokens(tokenizer, protected) + min(DEMONSTRATIONS, len(known)) * mean(tokens)
    return shortest < active.prompt_tokens


def approved_now(context: TrainingContext, assistant_id: str) -> list[Demonstration]:
    """The demonstrations; none where they cannot be found, which the run that trains meets again and says."""
    try:
        refresh(context.store, assistant_id, context.settings)
    except (RedactionError, StoreError):
        return []
    return context.store.demonstrations.all(assistant_id)


def untrained_candidate(retrain: Retrain, sent: Collection[str] = ()) -> Candidate:
    """The base model with demonstrations, under the instructions and under what is protected or `sent` alone."""
    segments = retrain.store.prompts.get(retrain.dataset.prompt_id).segments
    least = tuple(s.id for s in segments if s.protected or s.id in sent)
    instructions = tuple(s.id for s in segments if s.id in least or s.kind is SegmentKind.INSTRUCTION)
    shorter = [Variant(ids, DEMONSTRATIONS) for ids in dict.fromkeys([instructions, least])]
    return measured_untrained(retrain, None, [Variant(tuple(s.id for s in segments)), *shorter])


def candidate_after_edit(retrain: Retrain, served: Deployment) -> Candidate:
    """The same adapter, or the base model, with what of `served` is unchanged and with the segments that are new.

    Raises BadAdapter, OSError.
    """
    prompts = retrain.store.prompts
    after = prompts.get(retrain.dataset.prompt_id).segments
    sent = segments_after_edit(prompts.get(served.prompt_id).segments, served.segment_ids, after)
    variants = [
        Variant(tuple(segment.id for segment in after)),
        Variant(sent, served.demonstrations or DEMONSTRATIONS),
        *([] if served.demonstrations else [Variant(sent)]),
    ]
    return measured_untrained(retrain, served.adapter, variants)


def measured_untrained(retrain: Retrain, adapter: str | None, variants: Sequence[Variant]) -> Candidate:
    """An adapter that is published, or the base model, with these variants. Raises BadAdapter, OSError."""
    context = retrain.context
    with retrain.progress.timed("variants"):
        model: Any = load_base(context.model_dir)
        if adapter is not None:
            verify(context.adapters / adapter, context.base, MAX_RANK)
            model = PeftModel.from_pretrained(model, context.adapters / adapter)
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        shown = nearest_train_examples(context.retriever.embedder, retrain.dataset.examples, DEMONSTRATIONS)
        return measured_candidate(retrain, adapter, model, variants, shown)
