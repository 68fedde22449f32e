"""How much the candidate still needs each segment: the dev loss without it, less the loss with all.

In: the trained model, dev examples. Out: segment id -> nats per answer token. Place in the flow: after
`finetune`, before `ladder`. Does not decide anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from assistant.tokenizer import ChatTokenizer
from store.records import Example, Segment
from trainer.lora import mean_loss, to_tensors
from trainer.rows import row_of

EXAMPLES = 16  # enough to rank: the prompt's own tokens, shared by all of them, cost more than they do


def measure_helpfulness(
    model: Any,
    tokenizer: ChatTokenizer,
    segments: Sequence[Segment],
    examples: Sequence[Example],
    progress: Callable[[int, int], None],
) -> dict[str, float]:
    """Leave out each segment that is not protected in turn; `progress` gets (done, total)."""
    model.eval()
    removable = [segment for segment in segments if not segment.protected]
    sample = examples[:EXAMPLES]

    def loss(kept: Sequence[Segment]) -> float:
        with torch.no_grad():
            tensors = {k: v.to(model.device) for k, v in to_tensors(row_of(tokenizer, kept, sample)).items()}
            return float(mean_loss(model, tensors))

    complete = loss(segments)
    result = {}
    for done, segment in enumerate(removable, start=1):
        result[segment.id] = loss([other for other in segments if other.id != segment.id]) - complete
        progress(done, len(removable))
    return result
