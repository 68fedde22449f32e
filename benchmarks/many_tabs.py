"""How long a click and an answer's first text take while many tabs stream, on an app whose model answers at once."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import closing
from typing import Annotated, Any

import httpx
import psutil
import typer

from benchmarks.processes import AppProcess
from benchmarks.record import percentiles
from benchmarks.serving import desk_app, wait_until_answered

_WORDS, _PACE_S = 250, 0.1  # of each answer: 25 s, which is longer than what is measured
_CLICKS = 30
_SHARES = (50, 95, 100)
_LINE = 1 << 24  # bytes; a line is one event


class Tab:
    """One browser tab, as it talks to the app, over bare sockets: an HTTP client took as much CPU as the app itself."""

    def __init__(self, port: int, config: dict[str, Any], name: str):
        self._port, self._config, self._name = port, config, name

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
        call = json.dumps({"data": data, "fn_index": event, "session_hash": self._name})
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=_LINE)
        with closing(writer):
            length = f"content-type: application/json\r\ncontent-length: {len(call)}\r\n"
            head = await _asked(reader, writer, "POST /gradio_api/queue/join", length, call)
            await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
            await _asked(reader, writer, f"GET /gradio_api/queue/data?session_hash={self._name}")
            while line := await reader.readline():
                if wanted.encode() in line:
                    return time.monotonic() - began
        raise RuntimeError(f"{self._name}: the stream ended without {wanted!r}.")

    def _event(self, target: int | None, kind: str) -> int:
        """The first event of a component, or of the page."""
        return next(
            int(one["id"])
            for one in self._config["dependencies"]
            if any(name == kind and target in (None, id) for id, name in one["targets"])
        )


async def _asked(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: str, headers: str = "", body: str = ""
) -> str:
    """Send a request; returns the head of the answer, of which the body is still to be read."""
    writer.write(f"{what} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}\r\n{body}".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    if " 200 " not in head.partition("\r\n")[0]:
        raise RuntimeError(f"{what}: {head}")
    return head


async def _measure(app: AppProcess, pids: dict[str, int], streams: int) -> dict[str, Any]:
    config = httpx.get(f"{app.url}/config", trust_env=False).json()

    async def tabs(name: str, count: int) -> list[Tab]:
        return await asyncio.gather(*(Tab(app.port, config, f"{name}{n}").open() for n in range(count)))

    ask = ["hello", "desk", None, None]
    (warm,) = await tabs("warm", 1)
    await wait_until_answered(lambda: warm.until("chat-send", ask, "word"), RuntimeError)
    opened, clicking = await tabs("tab", streams), await tabs("click", _CLICKS)
    before = _cpu_s(pids)
    answers = [asyncio.create_task(one.until("chat-send", ask, "word")) for one in opened]
    firsts = await asyncio.gather(*answers)
    spent = {name: seconds - before[name] for name, seconds in _cpu_s(pids).items()}
    goes_on = [
        asyncio.create_task(one.until("chat-send", ask, "process_completed"))
        for one in await tabs("long", streams)
    ]
    await asyncio.sleep(5.0)
    before, began = _cpu_s(pids), time.monotonic()
    clicks = [await one.until("chat-new", ["desk", None], "process_completed") for one in clicking]
    cores = (_cpu_s(pids)["app"] - before["app"]) / (time.monotonic() - began)
    still = sum(not one.done() for one in goes_on)
    for one in goes_on:
        one.cancel()
    await asyncio.gather(*goes_on, return_exceptions=True)
    return {
        "streams": streams,
        "still streaming": still,
        "cores of the app": round(cores, 2),
        "first text": percentiles(firsts, _SHARES),
        "CPU of a start, ms": {name: round(1000 * seconds / streams, 1) for name, seconds in spent.items()},
        "click": percentiles(clicks, _SHARES),
    }


def _cpu_s(pids: dict[str, int]) -> dict[str, float]:
    return {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in pids.items()}


def main(
    streams: Annotated[
        list[int] | None, typer.Option(help="Tabs that stream at once; may be repeated.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Whose tokenizer counts; it does not answer.")] = None,
) -> None:
    """Example: python -m benchmarks.many_tabs --streams 45 --streams 100"""
    with desk_app("Be brief.", _WORDS, _PACE_S, model) as (app, _, fake):
        pids = {"app": app.process.pid, "tabs": os.getpid()} | ({"fake model": fake.pid} if fake else {})
        for count in streams or (45, 50, 100):
            print(json.dumps(asyncio.run(_measure(app, pids, count))), flush=True)


if __name__ == "__main__":
    typer.run(main)
