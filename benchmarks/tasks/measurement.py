"""Answers of the real server to test questions, their scores and tokens, and a round's record of them.

Answers are generated as the gate generates them; scores are taken against the best of several references.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from assistant.rendering import Context, Rendered, render
from assistant.retrieval import Embeds
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import Completion, VllmError
from assistant.vllm_pool import VllmPool
from benchmarks.serving import wait_until_healthy
from benchmarks.tasks.task import Item
from store.demonstrations import Demonstration
from store.records import Deployment, Role, Segment, TrainingRun, Variant
from trainer.evaluation.scorers import Scorer, best
from trainer.evaluation.statistics import Pairs, interval

AT_ONCE = 32  # requests per server, as the gate asks
_TRIES = 3
IGNORES = (
    "no index: on this sample the base model scores less than a point more with its full prompt than without any, so a "
    "shorter prompt is no achievement of the training"
)


@dataclass(frozen=True)
class Measurement:
    """What one pair answered to the test items, in their order; None where no answer came.

    `part_tokens` is what prompt and demonstrations cost on average, `request_tokens` the mean of whole requests.
    """

    adapter: str | None
    segment_ids: tuple[str, ...]
    demonstrations: int
    answers: tuple[str | None, ...]
    scores: tuple[float | None, ...]
    part_tokens: float
    request_tokens: float | None
    failures: tuple[str, ...]


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
    retrieve: Callable[[str], Sequence[Demonstration]] = lambda question: (),
    demonstrations: int = 0,
    copied: Callable[[Context], Demonstration | None] = lambda context: None,
) -> Measurement:
    """Answer every item; `segments` are the kept ones. Raises ScorerFailed."""

    def request(item: Item) -> Rendered:
        context = ((Role.USER, item.user),)
        if known := copied(context):
            return Rendered((), 0, copied=known.answer)
        return render(tokenizer, segments, context, retrieve(item.user))

    requests = {item.id: request(item) for item in items}
    slots = asyncio.Semaphore(AT_ONCE * len(pool.each()))
    done = 0

    async def answer(item: Item) -> Completion | str:
        nonlocal done
        sent = requests[item.id]
        async with slots:
            result = (
                Completion(sent.copied, 0, 0, 0, 0.0, 0.0)
                if sent.copied
                else await _complete(pool, adapter or pool.base, sent.ids, max_tokens, tokenizer.end_ids)
            )
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
    tokens = [result.prompt_tokens for result in results if isinstance(result, Completion)]
    return Measurement(
        adapter,
        tuple(segment.id for segment in segments),
        demonstrations,
        tuple(texts),
        tuple(scores),
        sum(one.prompt_part + one.demonstration_part for one in requests.values()) / len(requests),
        sum(tokens) / len(tokens) if tokens else None,
        tuple(result for result in results if isinstance(result, str)),
    )


def copy_nearest(
    items: Sequence[Item], scorer: Scorer, retrieve: Callable[[str], Sequence[Demonstration]]
) -> Measurement:
    """What the approved answer to the nearest question is worth, without any model. Raises ScorerFailed."""
    answers = [found[-1].answer if (found := retrieve(item.user)) else "" for item in items]
    scores = [best(scorer, text, item.references) for text, item in zip(answers, items, strict=True)]
    return Measurement(None, (), 1, tuple(answers), tuple(scores), 0.0, None, ())


def in_other_words(
    embedder: Embeds, corrected: Sequence[tuple[str, str]], items: Sequence[Item]
) -> list[Item]:
    """For each question and its correction the most similar of the items that have it as a right answer, where there
    is one.
    """
    vectors = embedder.embed([one.user for one in items]) if corrected and items else ()
    found = []
    for question, text in corrected:
        same = [n for n, one in enumerate(items) if text in one.references]
        if same:
            alike = np.asarray(vectors)[same] @ embedder.embed([question])[0]
            found.append(items[same[int(alike.argmax())]])
    return found


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
            await wait_until_healthy(pool)
    return failure


def run_record(run: TrainingRun) -> dict[str, Any]:
    """What the trainer reports: verdict, reasons, the table of variants, the cost."""
    return {
        "id": run.id,
        "status": run.status.value,
        "message": run.message,
        "seconds": round(run.finished_at - run.started_at, 1) if run.finished_at else None,
        "adapter": run.adapter,
        "settings": run.settings,
        "dataset": run.report.get("dataset"),
        "training": run.report.get("training"),
        "gate": _without_path(run.report["gate"]) if "gate" in run.report else None,
        "phases_s": run.report.get("seconds"),
    }


def _without_path(gate: Mapping[str, Any]) -> Mapping[str, Any]:
    """A scorer that has a file names it by a path that only this machine has."""
    name, colon, path = gate["scorer"].partition(":")
    return {**gate, "scorer": f"{name}{colon}{PurePath(path).name}"}


def last_tested(run: TrainingRun) -> Variant | None:
    """The last variant that the gate tested; None where it tested none."""
    variants = (run.report.get("gate") or {}).get("variants", ())
    tested = [
        Variant(tuple(one["segment_ids"]), one["demonstrations"])
        for one in variants
        if one.get("tested", True)
    ]
    return tested[-1] if tested else None


def measured_record(
    measured: Mapping[str, Measurement], active: Deployment, margin: float, right_or_wrong: bool
) -> dict[str, Any]:
    """Quality and tokens of each pair, and how the active one stands against the others.

    `measured` has what people are served (active), what they could do instead with the same ratings (base_full,
    base_demonstrations, nearest_copied) and, once something was trained, the candidate in the same ways and under the
    last variant that the gate tested. `margin` is the gate's; `right_or_wrong` says that the scorer gives 0 or 1 alone.
    """
    full, served = measured["base_full"], measured["active"]
    quality = {name: _quality(item) for name, item in measured.items()}
    means = [found["mean"] for name in ("active", "base_full", "base_empty") if (found := quality[name])]
    index = performance_index(*means) if len(means) == 3 else None
    return {
        "active": {
            "deployment": active.id,
            "adapter": active.adapter,
            "variant": active.variant,
            "segment_ids": list(active.segment_ids),
            "demonstrations": active.demonstrations,
            "copy_at": active.copy_at,
        },
        "prompt_tokens": {
            "full": full.part_tokens,
            "active": served.part_tokens,
            "cut": 1 - served.part_tokens / full.part_tokens if full.part_tokens else 0.0,
            "request_full": full.request_tokens,
            "request_active": served.request_tokens,
        },
        "quality": quality,
        "differences": {
            f"active - {name}": _difference(served, measured[name], margin, right_or_wrong)
            if name in measured
            else None
            for name in ("base_full", "base_demonstrations", "nearest_copied", "candidate_full")
        },
        "performance_index": index,
        "performance_index_note": "" if index is not None else IGNORES,
    }


def performance_index(variant: float, base_full: float, base_empty: float) -> float | None:
    """(Q(candidate, variant) - Q(base, empty)) / (Q(base, full) - Q(base, empty)).

    None when the base model ignores its own prompt (less than a point between full and empty): a shorter
    prompt is then no achievement of the training.
    """
    gain = base_full - base_empty
    return (variant - base_empty) / gain if gain >= 0.01 else None


def _quality(measured: Measurement) -> dict[str, Any] | None:
    """Mean score with its 95 % interval; None when nothing was answered."""
    scores = [score for score in measured.scores if score is not None]
    if not scores:
        return None
    return {
        **asdict(interval(scores, range(len(scores)))),
        "n": len(scores),
        "failed": len(measured.failures),
        "part_tokens": measured.part_tokens,
    }


def _difference(
    one: Measurement, other: Measurement, margin: float, right_or_wrong: bool
) -> dict[str, float] | None:
    """Mean paired difference `one - other` and its one-sided 95 % lower bound, over what both answered."""
    if one is other:
        return {"mean": 0.0, "lower": 0.0}  # the same requests: nothing is estimated
    both = [(a, b) for a, b in zip(one.scores, other.scores, strict=True) if a is not None and b is not None]
    if not both:
        return None
    scores, others = zip(*both, strict=True)
    pairs = Pairs(scores, others, range(len(both)), right_or_wrong)
    return {"mean": float(pairs.differences.mean()), "lower": pairs.lower_bound(margin)}
