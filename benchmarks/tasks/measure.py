"""A pair (adapter, rung) and test items to answers, scores and tokens, generated greedily by the real server.

In: a pool, a model's name, kept segments, items. Out: a Measurement; what could not be answered is counted and left
out. Place in the flow: after each round. Generates as the gate does (`trainer.proof.evaluate`) and scores against the
best of several references, which the gate does not have. Does not compare.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assistant.rendering import prompt_tokens, render
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import Completion, VllmError
from assistant.vllm_pool import VllmPool
from benchmarks.tasks.serving import until_healthy
from benchmarks.tasks.task import Item
from store.records import Role, Segment
from trainer.proof.approvals import best
from trainer.proof.scorers import Scorer
from trainer.proof.statistics import Difference, Interval, difference, interval

AT_ONCE = 32  # requests per server, as the gate asks
_TRIES = 3


@dataclass(frozen=True)
class Measurement:
    """What one pair answered to the test items, in their order; None where no answer came.

    `part_tokens` is what the prompt costs on every request, `request_tokens` the mean of whole requests.
    """

    adapter: str | None
    kept: tuple[str, ...]
    answers: tuple[str | None, ...]
    scores: tuple[float | None, ...]
    part_tokens: int
    request_tokens: float | None
    failures: tuple[str, ...]

    def quality(self) -> Interval | None:
        """Mean score with its 95 % interval; None when nothing was answered."""
        scores = [score for score in self.scores if score is not None]
        return interval(scores, range(len(scores))) if scores else None


def compare(one: Measurement, other: Measurement, margin: float, right_or_wrong: bool) -> Difference | None:
    """Mean paired difference `one - other` and its one-sided 95 % lower bound, over what both answered."""
    if (one.adapter, one.kept) == (other.adapter, other.kept):
        return Difference(0.0, 0.0, 0.0)  # the same requests: nothing is estimated
    pairs = [(a, b) for a, b in zip(one.scores, other.scores, strict=True) if a is not None and b is not None]
    if not pairs:
        return None
    return difference([a for a, _ in pairs], [b for _, b in pairs], range(len(pairs)), margin, right_or_wrong)


def answer_limit(tokenizer: ChatTokenizer, items: Sequence[Item], most: int) -> int:
    """Tokens after which every answer is cut off alike: room for one twice as long as the longest reference.

    As in the gate: a base model that rambles up to the chat's limit would take longer than everything else.
    """
    longest = max(len(tokenizer.encode_text(text)) for item in items for text in item.references)
    return min(most, 2 * longest + 16)


async def measure(
    pool: VllmPool,
    tokenizer: ChatTokenizer,
    adapter: str | None,
    segments: Sequence[Segment],
    items: Sequence[Item],
    scorer: Scorer,
    max_tokens: int,
    progress: Callable[[int, int], None],
) -> Measurement:
    """Answer every item; `segments` are the kept ones. Raises ScorerFailed."""
    slots = asyncio.Semaphore(AT_ONCE * pool.size)
    done = 0

    async def answer(item: Item) -> Completion | str:
        nonlocal done
        ids = render(tokenizer, segments, ((Role.USER, item.user),)).ids
        async with slots:
            result = await _complete(pool, adapter or pool.base, ids, max_tokens, tokenizer.end_ids)
        done += 1
        progress(done, len(items))
        return result

    # The first one alone: the others then find its prompt in the prefix cache, instead of all computing it at once.
    results = [await answer(item) for item in items[:1]]
    results += await asyncio.gather(*(answer(item) for item in items[1:]))
    texts = [result.text if isinstance(result, Completion) else None for result in results]
    scores = await asyncio.to_thread(
        lambda: [
            None if text is None else best(scorer, text, item.references)
            for text, item in zip(texts, items, strict=True)
        ]
    )
    tokens = [result.end.prompt_tokens for result in results if isinstance(result, Completion)]
    return Measurement(
        adapter,
        tuple(segment.id for segment in segments),
        tuple(texts),
        tuple(scores),
        prompt_tokens(tokenizer, segments),
        sum(tokens) / len(tokens) if tokens else None,
        tuple(result for result in results if isinstance(result, str)),
    )


async def _complete(
    pool: VllmPool, model: str, ids: Sequence[int], max_tokens: int, end_ids: Sequence[int]
) -> Completion | str:
    """The answer, or why there is none after three tries."""
    for attempt in range(_TRIES):
        try:
            return await pool.pick().complete(model, ids, max_tokens=max_tokens, end_ids=end_ids)
        except VllmError as error:
            failure = str(error)
        if attempt < _TRIES - 1:
            await until_healthy(pool)
    return failure
