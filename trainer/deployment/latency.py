"""Measures the time to the first token with the full and with the short prompt, cold and cached, interleaved.

A cold request carries a `cache_salt` of its own, so that vLLM finds no cached prefix.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from assistant.rendering import keep, render
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_pool import VllmPool
from store.records import Role, Segment

REPEATS = 5


async def measure_latency(
    pool: VllmPool,
    tokenizer: ChatTokenizer,
    segments: Sequence[Segment],
    variants: Mapping[str, tuple[str, Sequence[str]]],
    question: str,
    progress: Callable[[int, int], None],
) -> dict[str, dict[str, Any]]:
    """Time each variant (model name, kept segment ids) cold and warm.

    One after the other in every round, so that the machine's noise hits all alike.
    """
    client = pool.pick()
    times: dict[tuple[str, str], list[float]] = {}
    requests = {
        name: (model, render(tokenizer, keep(segments, segment_ids), ((Role.USER, question),)).ids)
        for name, (model, segment_ids) in variants.items()
    }
    for model, ids in requests.values():  # fill the shared cache once, so that warm means warm
        await client.complete(model, ids, max_tokens=1, end_ids=tokenizer.end_ids)
    for turn in range(REPEATS):
        for name, (model, ids) in requests.items():
            for state in ("cold", "warm"):
                salt = secrets.token_hex(8) if state == "cold" else None
                async with pool.background():
                    answer = await client.complete(
                        model, ids, max_tokens=1, end_ids=tokenizer.end_ids, cache_salt=salt
                    )
                times.setdefault((name, state), []).append(answer.first_token_s)
        progress(turn + 1, REPEATS)
    return {name: {state: _timing(times[name, state]) for state in ("cold", "warm")} for name in requests}


def _timing(seconds: list[float]) -> dict[str, float]:
    """Seconds to the first token of `n` requests."""
    return {
        "median_s": float(np.median(seconds)),
        "low_s": min(seconds),
        "high_s": max(seconds),
        "n": len(seconds),
    }
