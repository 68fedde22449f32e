"""Base-model requests in one batch with adapter requests, against the same requests made alone.

Real vLLM with three random adapters in its slots: 16 requests of the base model and 16 of adapters
are under way at any time, and every token of every answer is compared. vLLM 0.32 on CPU fails this by itself: see
`assistant/vllm_extension.py`.

    python -m benchmarks.mixed_batches --requests 1000 --out benchmarks/results/mixed_batches.json
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import httpx
import typer

from assistant.rendering import keep
from assistant.vllm_client import VllmError
from benchmarks.faults.references import Greedy, References, System, find_references, questions
from benchmarks.faults.scene import PROMPT
from benchmarks.record import fail, write_result
from benchmarks.screen import Screen
from benchmarks.swaps import ANSWER_TOKENS, systems
from benchmarks.vllm_process import Layers, ModelDir, OwnServer

_QUESTIONS, _TRIED = 10, 40
_EACH = 16


async def ask_mixed(
    greedy: Greedy, names: dict[System, str], references: References, requests: int, seed: int
) -> dict[str, Any]:
    """`requests` of the base model while adapters are asked all the time; raises httpx.HTTPError."""
    chance = random.Random(seed)
    base = next(system for system in names if system.weights is None)
    adapted = [system for system in names if system.weights is not None]
    left = iter(range(requests))
    under_way: Counter[bool] = Counter()
    found: Counter[str] = Counter()
    moved = 0.0
    done = asyncio.Event()

    async def ask(system: System) -> None:
        nonlocal moved
        is_base = system.weights is None
        question = chance.choice(references.questions)
        right = references.of(system, question)
        under_way[is_base] += 1
        beside = under_way[not is_base]
        answer = await greedy.answer(names[system], keep(PROMPT, system.segment_ids), question)
        under_way[is_base] -= 1
        kind = "base" if is_base else "adapter"
        found[f"{kind}_requests"] += 1
        found[f"{kind}_different"] += answer.tokens != right.tokens
        found[f"{kind}_in_a_mixed_batch"] += beside > 0
        if answer.tokens == right.tokens:
            moved = max(moved, *(abs(a - b) for a, b in zip(answer.ln_p, right.ln_p, strict=True)))

    async def ask_base() -> None:
        for _ in left:
            await ask(base)

    async def ask_adapters() -> None:
        while not done.is_set():
            await ask(chance.choice(adapted))

    async with asyncio.TaskGroup() as group:
        for _ in range(_EACH):
            group.create_task(ask_adapters())
        await asyncio.gather(*(ask_base() for _ in range(_EACH)))
        done.set()
    return {**found, "moved_by_a_batch_nats": moved}


async def measure(server: OwnServer, requests: int, seed: int, screen: Screen) -> dict[str, Any]:
    """Raises VllmError, httpx.HTTPError, ValueError."""
    pool = await server.pool()
    greedy = Greedy(server.url, server.tokenizer, ANSWER_TOKENS)
    choices = systems(server.make_random_adapters())
    try:
        names = {one: one.weights or pool.base for one in choices}
        for one in choices[1:]:
            await pool.load_adapter(names[one], str(server.templates / names[one]))
        references = await find_references(greedy, names, PROMPT, questions(_TRIED), _QUESTIONS, screen.say)
        return await ask_mixed(greedy, names, references, requests, seed) | {
            "references": references.as_record()
        }
    finally:
        await asyncio.gather(pool.close(), greedy.close())


def main(
    requests: Annotated[int, typer.Option(min=1, help="Of the base model.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the order of questions.")] = 1,
    model: ModelDir = None,
    layers: Layers = None,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the result.")] = None,
) -> None:
    """Ask the base model beside adapters, and compare with its answers alone.

    Example: python -m benchmarks.mixed_batches --requests 1000 --out benchmarks/results/mixed_batches.json
    """
    screen, began = Screen(), time.monotonic()
    with TemporaryDirectory() as folder, OwnServer(Path(folder), model, layers) as server:
        try:
            record = asyncio.run(measure(server, requests, seed, screen))
        except (VllmError, httpx.HTTPError, ValueError) as error:
            fail(str(error), 1)
    record["seconds"] = round(time.monotonic() - began, 1)
    screen.say(
        f"{record['base_requests']:,} requests of the base model, {record['base_in_a_mixed_batch']:,} of them beside "
        f"adapters: {record['base_different']} answers differ. {record['adapter_requests']:,} of adapters: "
        f"{record['adapter_different']} differ. ln p moved by at most {record['moved_by_a_batch_nats']:.1e} nats."
    )
    write_result(out, "mixed_batches", seed, record)
    if record["base_different"] or record["adapter_different"]:
        fail("Not every answer was the one that is given alone.", 1)


if __name__ == "__main__":
    typer.run(main)
