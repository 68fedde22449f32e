"""Generates and scores the answers of a model to examples, greedily, through vLLM with the served rendering."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from assistant.rendering import prompt_tokens, render
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmUnreachable
from assistant.vllm_pool import VllmPool
from store.records import Example, Segment
from trainer.evaluation.gate import Answers
from trainer.evaluation.judgements import best
from trainer.evaluation.scorers import Scorer

_TRIES = 3

EvaluationProgress = Callable[[int, int, float], None]


async def answer_all(
    pool: VllmPool,
    tokenizer: ChatTokenizer,
    model: str,
    segments: Sequence[Segment],
    examples: Sequence[Example],
    approved: Sequence[Sequence[str]],
    scorer: Scorer,
    max_tokens: int,
    progress: EvaluationProgress,
) -> Answers:
    """Answer every example, scored by the nearest text that is `approved` for it.

    `progress` gets (done, total, seconds left). Raises VllmError after three tries.
    """
    started = time.monotonic()
    done = 0

    async def answer(example: Example) -> str:
        nonlocal done
        ids = render(tokenizer, segments, example.context).ids
        async with pool.background():
            for attempt in range(_TRIES):
                try:
                    completion = await pool.pick().complete(
                        model, ids, max_tokens=max_tokens, end_ids=tokenizer.end_ids
                    )
                    break
                except VllmUnreachable:
                    if attempt == _TRIES - 1:
                        raise
                    await asyncio.sleep(2.0**attempt)
        done += 1
        progress(done, len(examples), (time.monotonic() - started) / done * (len(examples) - done))
        return completion.text

    # The first one alone: the others then find its prompt in the prefix cache, instead of all computing it at once.
    texts = [await answer(example) for example in examples[:1]]
    texts += await asyncio.gather(*(answer(example) for example in examples[1:]))
    scores = [best(scorer, text, right) for text, right in zip(texts, approved, strict=True)]
    return Answers(tuple(texts), tuple(scores), prompt_tokens(tokenizer, segments))
