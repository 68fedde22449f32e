"""Hot swaps under streams: no answer fails, mixes adapters or is stored under another deployment.

All is real but the adapters, which have random weights, and the gate, which is left out. Every answer is compared with
what its deployment answers alone: the same text, and as many tokens.

    python -m benchmarks.swaps --swaps 500 --streams 32 --out benchmarks/results/swaps.json
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from assistant.chat import Chat, ChatLimits
from assistant.vllm_client import VllmError
from benchmarks.faults.references import Greedy, References, System, find_references, questions
from benchmarks.faults.scene import FULL, PROMPT, Scene
from benchmarks.faults.streams import Streams
from benchmarks.footprint import Footprints, server_processes
from benchmarks.record import fail, write_result
from benchmarks.screen import Screen
from benchmarks.vllm_process import Layers, ModelDir, OwnServer

ANSWER_TOKENS = 8
_QUESTIONS, _TRIED = 10, 40
_ROLLED_BACK = 0.15
_WRITE_EVERY = 10


@dataclass
class Done:
    """How many swaps of which kind there were, and how long each took."""

    swaps: int = 0
    rollbacks: int = 0
    to_base: int = 0
    seconds: list[float] = field(default_factory=list)


def systems(weights: list[str]) -> list[System]:
    """The base model with the full prompt, and each adapter with another part of it."""
    variants = (FULL[:1], (), FULL)
    return [System(None, FULL)] + [System(name, variants[n % 3]) for n, name in enumerate(weights)]


async def swap_often(
    scene: Scene,
    chat: Chat,
    references: References,
    choices: list[System],
    swaps: int,
    streams: int,
    seed: int,
    after_each: Callable[[Done, Streams], None],
) -> tuple[Done, Streams]:
    """Swap while the streams ask; raises VllmError, BadAdapter, StoreError where a swap itself fails."""
    chance = random.Random(seed)
    done = Done()
    active = scene.store.deployments.active("swapped")
    deployments = {active.id: choices[0]} if active else {}
    asking = Streams(scene.store, chat, references, deployments, seed)
    running = asyncio.create_task(asking.run(streams))
    try:
        while done.swaps < swaps and not running.done():
            began = time.monotonic()
            if done.swaps > 2 and chance.random() < _ROLLED_BACK:
                await scene.roll_back()
                done.rollbacks += 1
            else:
                system = chance.choice(choices)
                candidate = await asyncio.to_thread(scene.candidate, system)
                deployments[candidate.id] = system  # before anything can be stored under it
                await scene.swap_to(candidate)
                done.to_base += system.weights is None
            done.swaps += 1
            done.seconds.append(round(time.monotonic() - began, 3))
            after_each(done, asking)
    finally:
        asking.stop()
        await running
    return done, asking


async def measure(
    server: OwnServer, folder: Path, swaps: int, streams: int, seed: int, out: Path | None
) -> bool:
    screen = Screen()
    began = time.monotonic()
    tokenizer, store = server.tokenizer, server.store
    pool, greedy = await server.pool(), Greedy(server.url, tokenizer, ANSWER_TOKENS)
    chatting = await server.pool()
    scene = Scene(store, pool, tokenizer, server.adapters, server.templates, server.base)
    choices = systems(server.make_random_adapters())
    try:
        names = {one: one.weights or pool.base for one in choices}
        for one in choices[1:]:
            await pool.load_adapter(names[one], str(server.templates / names[one]))
        references = await find_references(greedy, names, PROMPT, questions(_TRIED), _QUESTIONS, screen.say)
        for one in choices[1:]:  # what is swapped later has names of its own
            await pool.unload_adapter(names[one])
        footprints = Footprints()
        with screen.status("swaps") as status:

            def after_each(done: Done, asking: Streams) -> None:
                footprints.sample({"benchmark and chat": os.getpid(), **server_processes(os.getpid())})
                left = (time.monotonic() - began) / done.swaps * (swaps - done.swaps)
                status(
                    f"{done.swaps} of {swaps}, {asking.heard.answers} answers, {left / 60:.0f} minutes left"
                )
                if done.swaps % _WRITE_EVERY == 0:
                    numbers = _record(done, asking, references, footprints, streams, began)
                    write_result(out, "swaps", seed, numbers)

            chat = Chat(
                store, chatting, tokenizer, server.base, server.adapters, ChatLimits(2048, ANSWER_TOKENS)
            )
            done, asking = await swap_often(
                scene, chat, references, choices, swaps, streams, seed, after_each
            )
        record = _record(done, asking, references, footprints, streams, began)
        record["complaints"] = store.maintenance.check()
        write_result(out, "swaps", seed, record)
    finally:
        await asyncio.gather(pool.close(), chatting.close(), greedy.close())
    screen.say(
        f"{done.swaps} swaps ({done.rollbacks} of them rollbacks) under {streams} streams: {asking.heard.answers:,} "
        f"answers, {asking.heard.across:,} of them across a swap. Failed: {asking.heard.failed}. "
        f"Not the reference: {asking.heard.wrong}. Complaints of the check: {len(record['complaints'])}."
    )
    for line in [*asking.heard.failures, *record["complaints"]]:
        screen.say(line)
    return asking.heard.sound and not record["complaints"]


def _record(
    done: Done, asking: Streams, references: References, footprints: Footprints, streams: int, began: float
) -> dict[str, Any]:
    seconds = sorted(done.seconds)
    return {
        "swaps": done.swaps,
        "rollbacks": done.rollbacks,
        "swaps_to_the_base_model": done.to_base,
        "streams": streams,
        **asdict(asking.heard),
        "median_swap_s": seconds[len(seconds) // 2],
        "slowest_swap_s": seconds[-1],
        "references": references.as_record(),
        "processes": footprints.as_record(),
        "seconds": round(time.monotonic() - began, 1),
    }


def main(
    swaps: Annotated[int, typer.Option(min=1)] = 500,
    streams: Annotated[int, typer.Option(min=1, help="Answers under way at any time.")] = 32,
    seed: Annotated[int, typer.Option(help="Of the order of swaps and questions.")] = 1,
    model: ModelDir = None,
    layers: Layers = None,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the result.")] = None,
) -> None:
    """Swap again and again while people chat, and compare every answer.

    Example: python -m benchmarks.swaps --swaps 500 --streams 32 --out benchmarks/results/swaps.json
    """
    with TemporaryDirectory() as folder, OwnServer(Path(folder), model, layers) as server:
        try:
            sound = asyncio.run(measure(server, Path(folder), swaps, streams, seed, out))
        except (VllmError, ValueError) as error:
            fail(str(error), 1)
    if not sound:
        fail("Not every answer was the one that it should be.", 1)


if __name__ == "__main__":
    typer.run(main)
