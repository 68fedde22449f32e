"""The candidate's loss on dev examples without each segment, and at each variant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from assistant.tokenizer import ChatTokenizer
from store.records import Example, Segment
from trainer.training.lora import mean_loss, to_tensors
from trainer.training.precision import autocast
from trainer.training.rows import row_of

EXAMPLES = 16  # enough to rank: the prompt's own tokens, shared by all of them, cost more than they do


def measure_importance(
    model: Any,
    tokenizer: ChatTokenizer,
    segments: Sequence[Segment],
    examples: Sequence[Example],
    progress: Callable[[int, int], None],
) -> dict[str, float]:
    """Segment id to the loss without it, less the loss with all; segments that are protected are not asked about.

    `progress` gets (done, total).
    """
    removable = [segment for segment in segments if not segment.protected]
    without = [[other for other in segments if other is not segment] for segment in removable]
    complete, *losses = measure_losses(model, tokenizer, [segments, *without], examples, progress)
    return {segment.id: loss - complete for segment, loss in zip(removable, losses, strict=True)}


def measure_losses(
    model: Any,
    tokenizer: ChatTokenizer,
    prompts: Sequence[Sequence[Segment]],
    examples: Sequence[Example],
    progress: Callable[[int, int], None],
) -> list[float]:
    """The loss on the same examples under each prompt; `progress` gets (done, total)."""
    model.eval()
    losses = []
    for done, segment_ids in enumerate(prompts, start=1):
        tensors = to_tensors(row_of(tokenizer, segment_ids, examples[:EXAMPLES]))
        with torch.no_grad(), autocast():
            losses.append(float(mean_loss(model, {k: v.to(model.device) for k, v in tensors.items()})))
        progress(done, len(prompts))
    return losses
