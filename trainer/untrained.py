"""Candidates that need no training: the base model with approved answers before each question and less of the prompt,
and after an edit of the prompt what was served before it.

With 225 approved answers of Banking77 the five nearest ones, and no other prompt, brought 44 % of the test questions
right in 180 tokens; the full prompt brought 5 % in 825. So the first saving comes minutes after the first ratings.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

import torch
from peft import PeftModel

from assistant.adapter_files import verify
from assistant.rendering import keep, prompt_tokens, render
from assistant.retrieval import DEMONSTRATIONS
from assistant.serving import MAX_RANK
from store import StoreError
from store.records import Deployment, SegmentKind, Split, Variant
from trainer.candidate import Candidate, continue_greedily
from trainer.context import Retrain, TrainingContext
from trainer.evaluation.variants import measure_loss
from trainer.examples.demonstrations import nearest_train_examples, refresh
from trainer.prompt_edit import segments_after_edit
from trainer.redaction.entities import RedactionError
from trainer.training.lora import load_base

_LOOKED_AT = 100  # approved answers by which the tokens of all are estimated


def is_worth_trying(context: TrainingContext, assistant_id: str) -> bool:
    """Whether the base model is served with a prompt that takes more tokens than approved answers would."""
    store, tokenizer = context.store, context.tokenizer
    active = store.deployments.active(assistant_id)
    if active is None or active.adapter is not None or active.variant:
        return False
    try:
        refresh(store, assistant_id, context.settings)
    except (RedactionError, StoreError):  # the run that trains meets it again and says so
        return False
    known = store.demonstrations.all(assistant_id)[-_LOOKED_AT:]
    if not known:
        return False
    tokens = [len(tokenizer.encode_text(f"{one.question}{one.answer}")) for one in known]
    protected = [one for one in store.prompts.get(active.prompt_id).segments if one.protected]
    shortest = prompt_tokens(tokenizer, protected) + min(DEMONSTRATIONS, len(known)) * mean(tokens)
    return shortest < active.prompt_tokens


def untrained_candidate(retrain: Retrain) -> Candidate:
    """The base model with demonstrations, under the instructions and under what is protected alone."""
    segments = retrain.store.prompts.get(retrain.dataset.prompt_id).segments
    every = tuple(segment.id for segment in segments)
    instructions = tuple(s.id for s in segments if s.protected or s.kind is SegmentKind.INSTRUCTION)
    protected = tuple(segment.id for segment in segments if segment.protected)
    shorter = [Variant(ids, DEMONSTRATIONS) for ids in dict.fromkeys([instructions, protected])]
    variants = [Variant(every), *shorter]
    losses = measure_variants(retrain, load_base(retrain.context.model_dir), variants)
    return Candidate(None, variants, losses, parity_ids=(), parity=(), training={}, remarks=())


def candidate_after_edit(retrain: Retrain, served: Deployment) -> Candidate:
    """The same adapter, or the base model, with what of `served` is unchanged and with the segments that are new.

    Raises BadAdapter, OSError.
    """
    context, prompts = retrain.context, retrain.store.prompts
    after = prompts.get(retrain.dataset.prompt_id).segments
    sent = segments_after_edit(prompts.get(served.prompt_id).segments, served.segment_ids, after)
    variants = [
        Variant(tuple(segment.id for segment in after)),
        Variant(sent, served.demonstrations or DEMONSTRATIONS),
        *([] if served.demonstrations else [Variant(sent)]),
    ]
    model = load_base(context.model_dir)
    if served.adapter is None:
        return Candidate(None, variants, measure_variants(retrain, model, variants), (), (), {}, ())
    verify(context.adapters / served.adapter, context.base, MAX_RANK)
    model = PeftModel.from_pretrained(model, context.adapters / served.adapter)
    question = next(one.context for one in retrain.dataset.examples if one.split is Split.DEV)
    ids = render(context.tokenizer, (), question).ids
    losses = measure_variants(retrain, model, variants)
    return Candidate(
        served.adapter, variants, losses, ids, continue_greedily(model, ids), training={}, remarks=()
    )


def measure_variants(retrain: Retrain, model: Any, variants: Sequence[Variant]) -> list[float]:
    """The dev loss of each, in nats per answer token."""
    context, dataset = retrain.context, retrain.dataset
    segments = retrain.store.prompts.get(dataset.prompt_id).segments
    shown = nearest_train_examples(context.retriever.embedder, dataset.examples, DEMONSTRATIONS)
    dev = [example for example in dataset.examples if example.split is Split.DEV]
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    counter, losses = retrain.progress.counter("variants"), []
    for done, one in enumerate(variants, start=1):
        sent = keep(segments, one.segment_ids)
        losses.append(measure_loss(model, context.tokenizer, sent, dev, shown if one.demonstrations else {}))
        counter(done, len(variants))
    return losses
