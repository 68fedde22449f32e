"""What vLLM on CPU is worth with the core that it keeps for its scheduler, and with that core for the model as well.

In: nothing but the installed product. Out: `results/vllm_cores.json`: seconds to the first token of the sample's
prompt, cold and cached, and tokens a second of one answer and of 32 at once, with each setting in turn; medians and
their ratio. The app starts a real server for every turn.

    python -m benchmarks.vllm_cores --out benchmarks/results/vllm_cores.json
"""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from assistant.assistants import SAMPLE_ID
from assistant.rendering import keep, render
from assistant.vllm_client import VllmClient
from benchmarks import result_file
from benchmarks.app_process import AppProcess
from benchmarks.command import command_line
from benchmarks.provenance import provenance
from benchmarks.questions import questions
from benchmarks.screen import Screen
from benchmarks.serving import Serving
from store import Store
from store.records import Role

RESULT = Path("benchmarks/results/vllm_cores.json")
_SETTING = "VLLM_CPU_NUM_OF_RESERVED_CPU"
_AT_ONCE, _LONG = 32, 64  # answers at once; tokens of an answer


def main(
    turns: Annotated[int, typer.Option(min=1, help="Servers with each setting, in turn.")] = 3,
    out: Annotated[Path, typer.Option(help="Where the result goes.")] = RESULT,
) -> None:
    """Start servers with one core kept and with none, and compare them. 10 minutes on two cores.

    Example: python -m benchmarks.vllm_cores --turns 1 --out /tmp/vllm_cores.json
    """
    screen = Screen()
    measured: dict[str, list[dict[str, float]]] = {"1": [], "0": []}
    for turn in range(turns):
        for kept, rows in measured.items():
            rows.append(_with(kept))
            screen.say(f"turn {turn + 1}, {kept} kept: {rows[-1]}")
    medians = {
        kept: {name: median(row[name] for row in rows) for name in rows[0]} for kept, rows in measured.items()
    }
    ratios = {name: round(medians["0"][name] / medians["1"][name], 3) for name in medians["0"]}
    result: dict[str, Any] = {"benchmark": "vllm_cores", "kept": measured, "none_to_one": ratios}
    result["provenance"] = provenance(command_line("benchmarks.vllm_cores"), seed=0)
    result_file.write(out, result)
    screen.say(f"None kept, as a ratio to one: {ratios}. Written to {out}.")


def _with(kept: str) -> dict[str, float]:
    os.environ[_SETTING] = kept
    with tempfile.TemporaryDirectory() as folder, AppProcess(Path(folder), "--sample", "--no-trainer") as app:
        app.wait_for_page()
        app.wait_for_model()
        with Store(Path(folder) / "shorthand.sqlite") as store:
            return asyncio.run(_measure(Serving(Path(folder), store)))


async def _measure(serving: Serving) -> dict[str, float]:
    active = serving.store.active(SAMPLE_ID)
    assert active is not None  # the app has loaded the sample
    segments = keep(serving.store.prompt(active.prompt_id).segments, active.kept)
    asked = [
        render(serving.tokenizer, segments, ((Role.USER, text),)).ids for text in questions(2 * _AT_ONCE)
    ]
    client = VllmClient(serving.address.urls[0], serving.address.key)

    async def seconds(ids: tuple[int, ...], salt: str | None = None) -> float:
        answer = await client.complete(
            "base", ids, max_tokens=1, end_ids=serving.tokenizer.end_ids, cache_salt=salt
        )
        return answer.end.total_s

    try:
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
    }


if __name__ == "__main__":
    typer.run(main)
