"""What each of our settings of vLLM on CPU brings, against what vLLM does by itself.

In: nothing but the installed product. Out: `results/vllm_on_cpu.json`: seconds to the first token of the sample's
prompt, cold and cached, and tokens a second of one answer, of 32 at once, and of a gate, alone and beside a person who
chats, with each variant in turn; medians, and their ratios to the server as the app starts it. A real server for every
turn.

    python -m benchmarks.vllm_on_cpu --out benchmarks/results/vllm_on_cpu.json
"""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import time
from contextlib import aclosing
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from assistant.assistants import load_sample
from assistant.rendering import render
from assistant.vllm_client import Finished, VllmClient
from benchmarks.faults.questions import questions
from benchmarks.records import result_file
from benchmarks.records.command import command_line, fail
from benchmarks.records.provenance import provenance
from benchmarks.records.screen import Screen
from benchmarks.servers.own_server import ModelDir, OwnServer
from store.records import Role

RESULT = Path("benchmarks/results/vllm_on_cpu.json")
_SETTING = "VLLM_CPU_NUM_OF_RESERVED_CPU"
_AT_ONCE, _LONG = 32, 64  # answers at once; tokens of an answer
_OF_A_GATE, _SHORT = 96, 32  # questions; tokens of an answer
_BREATH_S = 5.0  # of a person who chats beside the gate, between an answer and the next question
_AS_STARTED = "as the app starts it"


@dataclass(frozen=True)
class Variant:
    """Cores that vLLM keeps for its scheduler, None for what the app says, and further options."""

    kept: str | None = None
    options: tuple[str, ...] = ()


VARIANTS = {
    _AS_STARTED: Variant(),
    "one core kept for the scheduler": Variant(kept="1"),
    "steps of 0.1 s beside people": Variant(
        options=("--scheduler-cls", "benchmarks.servers.fixed_steps.Scheduler")
    ),
    "vLLM's own scheduler": Variant(options=("--scheduler-cls", "vllm.v1.core.sched.scheduler.Scheduler")),
}


def main(
    turns: Annotated[int, typer.Option(min=1, help="Servers with each setting, in turn.")] = 3,
    against: Annotated[
        list[str] | None, typer.Option(help="This variant; may be repeated. Default: all.")
    ] = None,
    model: ModelDir = None,
    out: Annotated[Path, typer.Option(help="Where the result goes.")] = RESULT,
) -> None:
    """Start servers with other settings in turn, and compare them. 40 minutes on two cores.

    Example: python -m benchmarks.vllm_on_cpu --turns 1 --out /tmp/vllm_on_cpu.json
    """
    unknown = set(against or ()) - set(VARIANTS)
    if unknown:
        fail(f"There is no variant {sorted(unknown)[0]!r}. Choose from: {', '.join(VARIANTS)}.")
    screen = Screen()
    chosen = [name for name in VARIANTS if name == _AS_STARTED or name in (against or VARIANTS)]
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in chosen}
    for turn in range(turns):
        for name, rows in measured.items():
            rows.append(_with(VARIANTS[name], model))
            screen.say(f"turn {turn + 1}, {name}: {rows[-1]}")
    medians = {
        name: {key: median(row[key] for row in rows) for key in rows[0]} for name, rows in measured.items()
    }
    ratios = {
        name: {key: round(value / medians[_AS_STARTED][key], 3) for key, value in found.items()}
        for name, found in medians.items()
        if name != _AS_STARTED
    }
    result: dict[str, Any] = {"benchmark": "vllm_on_cpu", "measured": measured, "ratios": ratios}
    result["provenance"] = provenance(command_line("benchmarks.vllm_on_cpu"), seed=0)
    result_file.write(out, result)
    screen.say(f"As ratios to the server as the app starts it: {ratios}. Written to {out}.")


def _with(variant: Variant, model: str | None) -> dict[str, float]:
    if variant.kept is not None:
        os.environ[_SETTING] = variant.kept
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            OwnServer(Path(folder), model, options=variant.options) as server,
        ):
            return asyncio.run(_measure(server))
    finally:
        os.environ.pop(_SETTING, None)


async def _measure(server: OwnServer) -> dict[str, float]:
    assistant, _ = load_sample(server.store, server.tokenizer)
    segments = server.store.latest_prompt(assistant.id).segments
    texts = questions(_OF_A_GATE + 2 * _AT_ONCE)
    texts = [f"Please tell me: {text}" for text in texts[:_OF_A_GATE]] + texts  # for another gate, not cached
    asked = [render(server.tokenizer, segments, ((Role.USER, text),)).ids for text in texts]
    first_gate, second_gate = asked[:_OF_A_GATE], asked[_OF_A_GATE : 2 * _OF_A_GATE]
    asked = asked[2 * _OF_A_GATE :]
    client = VllmClient(server.url, server.key)
    slots = asyncio.Semaphore(_AT_ONCE)

    async def seconds(ids: tuple[int, ...], salt: str | None = None) -> float:
        answer = await client.complete(
            "base", ids, max_tokens=1, end_ids=server.tokenizer.end_ids, cache_salt=salt
        )
        return answer.end.total_s

    async def proves(ids: tuple[int, ...]) -> None:
        async with slots:
            await client.complete("base", ids, max_tokens=_SHORT, end_ids=(), can_wait=True)

    async def gate(questions: list[tuple[int, ...]]) -> float:
        started = time.perf_counter()
        await asyncio.gather(*(proves(ids) for ids in questions))
        return _OF_A_GATE * _SHORT / (time.perf_counter() - started)

    waited: list[float] = []

    async def chats() -> None:
        for ids in cycle(asked):
            async with aclosing(client.stream("base", ids, max_tokens=_SHORT, end_ids=())) as told:
                async for one in told:
                    if isinstance(one, Finished):
                        waited.append(one.first_token_s)
            await asyncio.sleep(_BREATH_S)

    try:
        # First of all: for a minute after a person's question a gate's share of each step is smaller.
        gate_alone = await gate(first_gate)
        person = asyncio.create_task(chats())
        try:
            gate_beside = await gate(second_gate)
        finally:
            person.cancel()
        for ids in asked:  # all questions in the cache, so that generation alone is timed below
            await seconds(ids)
        cold = [await seconds(ids, secrets.token_hex(8)) for ids in asked[:8]]
        cached = [await seconds(ids) for ids in asked[:16]]
        started = time.perf_counter()
        for ids in asked[:4]:
            await client.complete("base", ids, max_tokens=_LONG, end_ids=())
        one = 4 * _LONG / (time.perf_counter() - started)
        started = time.perf_counter()
        await asyncio.gather(
            *(client.complete("base", ids, max_tokens=_LONG, end_ids=()) for ids in asked[:_AT_ONCE])
        )
        many = _AT_ONCE * _LONG / (time.perf_counter() - started)
    finally:
        await client.close()
    return {
        "first_token_cold_s": round(median(cold), 4),
        "first_token_cached_s": round(median(cached), 4),
        "tokens_a_second_alone": round(one, 1),
        "tokens_a_second_of_32": round(many, 1),
        "tokens_a_second_of_a_gate": round(gate_alone, 1),
        "tokens_a_second_of_a_gate_beside_a_person": round(gate_beside, 1),
        "first_token_beside_a_gate_s": round(median(waited), 4),
    }


if __name__ == "__main__":
    typer.run(main)
