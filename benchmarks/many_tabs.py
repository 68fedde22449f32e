"""How long a click and an answer's first text take while many tabs stream, on an app whose model answers at once."""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import httpx
import psutil
import typer

from assistant.assistants import create_assistant
from assistant.prompt_text import parse
from assistant.startup import resolve
from assistant.tokenizer import ChatTokenizer
from benchmarks.processes import AppProcess, FakeServer
from store import Store

_WORDS, _PACE_S = 250, 0.1  # of each answer: 25 s, which is longer than what is measured
_CLICKS = 30


class Tab:
    """One browser tab, as it talks to the app."""

    def __init__(self, http: httpx.AsyncClient, config: dict[str, Any], name: str):
        self._http, self._config, self._name = http, config, name

    async def open(self) -> Tab:
        """As the page does it first: what there is to choose from comes with it."""
        await self._until(self._event(None, "load"), [None], "process_completed")
        return self

    async def until(self, button: str, data: list[Any], wanted: str) -> float:
        """Press a button, and count the seconds until the app sends `wanted`."""
        target = next(
            one["id"] for one in self._config["components"] if one["props"].get("elem_id") == button
        )
        return await self._until(self._event(target, "click"), data, wanted)

    async def _until(self, event: int, data: list[Any], wanted: str) -> float:
        began = time.monotonic()
        call = {"data": data, "fn_index": event, "session_hash": self._name}
        (await self._http.post("/gradio_api/queue/join", json=call)).raise_for_status()
        address = f"/gradio_api/queue/data?session_hash={self._name}"
        async with self._http.stream("GET", address) as events:
            async for line in events.aiter_lines():
                if wanted in line:
                    return time.monotonic() - began
        raise RuntimeError(f"{self._name}: the stream ended without {wanted!r}.")

    def _event(self, target: int | None, kind: str) -> int:
        """The first event of a component, or of the page."""
        return next(
            int(one["id"])
            for one in self._config["dependencies"]
            if any(name == kind and target in (None, id) for id, name in one["targets"])
        )


async def _measure(app: AppProcess, streams: int) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=app.url, timeout=120, trust_env=False, limits=limits) as http:
        config = (await http.get("/config")).json()

        async def tabs(name: str, count: int) -> list[Tab]:
            return await asyncio.gather(*(Tab(http, config, f"{name}{n}").open() for n in range(count)))

        ask = ["hello", "desk", None, None]
        (warm,) = await tabs("warm", 1)
        await _until_ready(lambda: warm.until("chat-send", ask, "word"))
        opened, clicking = await tabs("tab", streams), await tabs("click", _CLICKS)
        process = psutil.Process(app.process.pid)
        before = sum(process.cpu_times()[:2])
        answers = [asyncio.create_task(one.until("chat-send", ask, "word")) for one in opened]
        firsts = await asyncio.gather(*answers)
        start_ms = 1000 * (sum(process.cpu_times()[:2]) - before) / streams
        goes_on = [
            asyncio.create_task(one.until("chat-send", ask, "process_completed"))
            for one in await tabs("long", streams)
        ]
        await asyncio.sleep(5.0)
        before, began = sum(process.cpu_times()[:2]), time.monotonic()
        clicks = [await one.until("chat-new", ["desk", None], "process_completed") for one in clicking]
        cores = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)
        still = sum(not one.done() for one in goes_on)
        for one in goes_on:
            one.cancel()
    return {
        "streams": streams,
        "still streaming": still,
        "cores of the app": round(cores, 2),
        "first text": _spread(firsts),
        "CPU of a start, ms": round(start_ms),
        "click": _spread(clicks),
    }


async def _until_ready(ask: Callable[[], Awaitable[float]]) -> None:
    for _ in range(60):
        try:
            await ask()
            return
        except RuntimeError:
            await asyncio.sleep(1.0)
    raise RuntimeError("The app does not answer within a minute.")


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "median": round(statistics.median(ordered), 3),
        "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 3),
        "worst": round(ordered[-1], 3),
    }


def main(
    streams: Annotated[
        list[int] | None, typer.Option(help="Tabs that stream at once; may be repeated.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Whose tokenizer counts; it does not answer.")] = None,
) -> None:
    """Example: python -m benchmarks.many_tabs --streams 45 --streams 100"""
    with tempfile.TemporaryDirectory(prefix="many-tabs-") as folder, FakeServer(_WORDS, _PACE_S) as fake:
        data_dir = Path(folder)
        model_dir = resolve(model, data_dir)
        with Store(data_dir / "shorthand.sqlite") as store:
            prompt = parse("Be brief.")
            create_assistant(store, ChatTokenizer.load(model_dir), "Desk", "exact", prompt, (), "desk")
        with AppProcess(data_dir, "--model", str(model_dir), "--vllm-url", fake.url, "--no-trainer") as app:
            app.wait_for_page()
            for count in streams or (45, 50, 100):
                print(json.dumps(asyncio.run(_measure(app, count))), flush=True)


if __name__ == "__main__":
    typer.run(main)
