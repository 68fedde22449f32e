"""Corrected answers of a frozen dataset to pairs of token ids: what people wrote, and what they were given instead.

In: examples, segments, settings. Out: pairs at the shortest rung, as it is served. Pure but for the tokenizer. Place in
the flow: beside `rows`. Does not know how pairs are learned from (`dpo`) or whether that is kept (`preferences`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assistant.rendering import render, render_answer
from assistant.tokenizer import ChatTokenizer
from store.records import Example, Segment, Split
from trainer.learning.packing import Tokens
from trainer.settings import TrainerSettings


@dataclass(frozen=True)
class Pair:
    """Token ids of a request and of two answers to it, each with its end token."""

    request: Tokens
    chosen: Tokens
    rejected: Tokens


def make_pairs(
    tokenizer: ChatTokenizer,
    segments: Sequence[Segment],
    examples: Sequence[Example],
    settings: TrainerSettings,
) -> list[Pair]:
    """A pair of each corrected answer of the train split, in the order of the examples; none where they are off.

    Left out are answers that someone else approved of for the same question, and those that are longer than an answer
    may be now: only imported ones are, and what makes them long is not what was wrong with them.
    """
    if settings.preference == 0:
        return []
    shortest = [segment for segment in segments if segment.protected]
    train = [example for example in examples if example.split is Split.TRAIN and example.approved]
    approved = {(example.context, example.completion) for example in train}
    pairs = [
        Pair(
            render(tokenizer, shortest, example.context).ids,
            render_answer(tokenizer, example.completion),
            render_answer(tokenizer, example.rejected),
        )
        for example in train
        if example.rejected is not None and (example.context, example.rejected) not in approved
    ]
    return [pair for pair in pairs if len(pair.rejected) <= settings.max_answer_tokens + 1]
