"""What the API costs beside vLLM asked directly: time to first text one at a time, and the time of many at once."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Annotated, Any

import httpx
import psutil
import typer

from assistant.prompt_text import parse
from assistant.rendering import render
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmClient
from benchmarks.processes import AppProcess
from benchmarks.record import percentiles
from benchmarks.serving import desk_app, wait_until_answered
from store.records import Role

_WORDS, _PACE_S = 50, 0.02  # of an answer of the fast fake: a second
_ONE_AFTER_THE_OTHER = 30
_PROMPT = "You are the front desk of a lake hire. Answer in one short sentence."

Ask = Callable[[str], AsyncIterator[str]]


async def _through_vllm(client: VllmClient, tokenizer: ChatTokenizer, question: str) -> AsyncIterator[str]:
    """The same tokens as through the API."""
    ids = render(tokenizer, parse(_PROMPT), ((Role.USER, question),)).ids
    async for item in client.stream("base", ids, max_tokens=_WORDS, end_ids=tokenizer.end_ids):
        if isinstance(item, str):
            yield item


async def _through_api(http: httpx.AsyncClient, question: str) -> AsyncIterator[str]:
    messages = [{"role": "system", "content": _PROMPT}, {"role": "user", "content": question}]
    body = {"model": "any", "messages": messages, "stream": True, "max_tokens": _WORDS}
    async with http.stream("POST", "/v1/chat/completions", json=body) as reply:
        reply.raise_for_status()
        async for line in reply.aiter_lines():
            if '"content":"' in line and '"content":""' not in line:
                yield line


async def _first_s(answer: AsyncIterator[str]) -> float:
    began = time.monotonic()
    async for _ in answer:
        first = time.monotonic() - began
        async for _ in answer:
            pass
        return first
    raise RuntimeError("An answer without text.")


async def _turn(ask: Ask, streams: int, mark: str, app: psutil.Process) -> dict[str, float]:
    alone = [await _first_s(ask(f"{mark} {n}, when do you open?")) for n in range(_ONE_AFTER_THE_OTHER)]
    used, began = sum(app.cpu_times()[:2]), time.monotonic()
    together = await asyncio.gather(*(_first_s(ask(f"{mark} of many {n}?")) for n in range(streams)))
    seconds = time.monotonic() - began
    of_alone = percentiles(alone, (50, 95), 6)
    return {
        "first alone, ms": 1000 * of_alone["p50"],
        "first alone p95, ms": 1000 * of_alone["p95"],
        "first of many, ms": 1000 * statistics.median(together),
        "all of many, s": seconds,
        "CPU of the app for each of many, ms": 1000 * (sum(app.cpu_times()[:2]) - used) / streams,
    }


async def _measure(app: AppProcess, tokenizer: ChatTokenizer, streams: int, turns: int) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=None)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=app.url, timeout=300, trust_env=False, limits=limits)
        )
        client = VllmClient(app.address().urls[0])
        stack.push_async_callback(client.close)
        ways: dict[str, Ask] = {
            "vLLM": lambda question: _through_vllm(client, tokenizer, question),
            "API": lambda question: _through_api(http, question),
        }
        await wait_until_answered(lambda: _first_s(ways["API"]("Are you there?")), httpx.HTTPStatusError)
        process = psutil.Process(app.process.pid)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
        for turn in range(turns):
            for name, ask in ways.items():
                found[name].append(await _turn(ask, streams, f"{name} {turn}", process))
    return {
        "streams": streams,
        "turns": turns,
        **{name: _medians(rows) for name, rows in found.items()},
    }


def _medians(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    """The median over the turns, with the least and the most."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {
        name: [round(one, 2) for one in (statistics.median(values), min(values), max(values))]
        for name, values in columns.items()
    }


def main(
    streams: Annotated[int, typer.Option(help="Answers at once.")] = 100,
    turns: Annotated[int, typer.Option(help="Of each way, in turn.")] = 5,
    real: Annotated[
        bool, typer.Option("--real", help="With the embedded model, instead of a fast fake.")
    ] = False,
) -> None:
    """Example: python -m benchmarks.gateway --streams 32 --real"""
    with desk_app(_PROMPT, 0 if real else _WORDS, _PACE_S) as (app, tokenizer, _):
        print(json.dumps(asyncio.run(_measure(app, tokenizer, streams, turns)), indent=1))


if __name__ == "__main__":
    typer.run(main)
