"""Builds the variants of a candidate, longest first, and the order in which the gate tests them.

They follow from the candidate's loss on dev examples without each segment, and at each variant.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import Any

import torch

from assistant.tokenizer import ChatTokenizer
from store.records import Example, Segment, SegmentKind, Variant
from trainer.training.environment import autocast
from trainer.training.lora import mean_loss, to_tensors
from trainer.training.rows import Shown, row_of

# Nats per answer token. Dev losses of one adapter at two variants come from the same few answers, and say little about
# quality when they are close: on a sample they were 0.032 and 0.023, and the variant with the higher one did better.
_CLEARLY = 0.1
EXAMPLES = 16  # enough to rank: the prompt's own tokens, shared by all of them, cost more than they do


def measure_importance(
    model: Any,
    tokenizer: ChatTokenizer,
    segments: Sequence[Segment],
    examples: Sequence[Example],
    progress: Callable[[int, int], None],
) -> dict[str, float]:
    """Segment id to the loss without it, less the loss with all, for segments that are not protected.

    `progress` gets (done, total).
    """
    removable = [segment for segment in segments if not segment.protected]
    without = [[other for other in segments if other is not segment] for segment in removable]
    losses = []
    for done, prompt in enumerate([segments, *without], start=1):
        losses.append(measure_loss(model, tokenizer, prompt, examples))
        progress(done, 1 + len(without))
    complete, *losses = losses
    return {segment.id: loss - complete for segment, loss in zip(removable, losses, strict=True)}


def measure_loss(
    model: Any,
    tokenizer: ChatTokenizer,
    prompt: Sequence[Segment],
    examples: Sequence[Example],
    shown: Shown = MappingProxyType({}),
) -> float:
    """The loss on the first `EXAMPLES` examples; `shown` are the demonstrations of each message."""
    model.eval()
    tensors = to_tensors(row_of(tokenizer, prompt, examples[:EXAMPLES], shown=shown))
    with torch.no_grad(), autocast():
        return float(mean_loss(model, {k: v.to(model.device) for k, v in tensors.items()}))


def build_variants(
    segments: Sequence[Segment], tokens: Mapping[str, int], importance: Mapping[str, float], steps: int
) -> list[tuple[str, ...]]:
    """The segments of the full prompt and of at most `steps` shorter ones, each within the one before.

    Segments leave by importance (loss without it, in nats per answer token) per token, least first; worked
    examples leave before instructions. The first step drops the examples, the others share the rest evenly.
    """
    removable = sorted(
        (s for s in segments if not s.protected),
        key=lambda s: (s.kind is not SegmentKind.EXAMPLE, importance[s.id] / max(1, tokens[s.id]), s.id),
    )
    examples = sum(s.kind is SegmentKind.EXAMPLE for s in removable)
    cuts = _cut_points([tokens[s.id] for s in removable], examples, steps)
    return [tuple(s.id for s in segments if s not in removable[:cut]) for cut in [0, *cuts]]


def with_demonstrations(prompts: Sequence[tuple[str, ...]], count: int) -> list[Variant]:
    """The prompts as variants without demonstrations and, before the shortest one, that prompt with `count` of them."""
    variants = [Variant(prompt) for prompt in prompts]
    return [*variants[:-1], Variant(prompts[-1], count), variants[-1]] if count else variants


def gate_sequence(losses: Sequence[float], tokens: Sequence[int], most: int) -> list[int]:
    """Numbers of the variants that the gate tests, the longest first, by their dev `losses` and the `tokens` of each.

    The gate stops at the first failure, so a test that gains little stands in the way of those that gain more. The
    first is the shortest variant that does not do clearly worse on dev than a longer one; what is shorter still
    follows, but not what does clearly worse than a variant after it, nor what has more than `most` tokens, which is
    what is served now. That is settled before the gate sees an answer, so each test keeps its whole error rate (fixed
    sequence; Maurer, Hothorn and Lehmacher 1995).
    """
    last = len(losses) - 1
    useful = [number for number in range(len(losses)) if tokens[number] <= most or number == last]
    first = max(n for n in useful if losses[n] <= min(losses[m] for m in useful if m <= n) + _CLEARLY)
    return [
        number for number in useful if number >= first and losses[number] <= min(losses[number:]) + _CLEARLY
    ]


def begins_shortened(losses: Sequence[float]) -> bool:
    """Whether `gate_sequence` begins with a shorter variant than the first, so that none in between would be tested."""
    return gate_sequence(losses, [0] * len(losses), 0)[0] > 0


def _cut_points(tokens: Sequence[int], examples: int, steps: int) -> list[int]:
    """After how many removals each shorter variant is cut; the last takes all."""
    first = [examples] if 0 < examples < len(tokens) and steps > 1 else []
    start = first[0] if first else 0
    gone, parts = list(accumulate(tokens[start:], initial=0)), steps - len(first)
    even = {start + bisect_left(gone, gone[-1] * part / parts) for part in range(1, parts)}
    return sorted({*first, *even, len(tokens)} - {0})
