"""100 answers at once through Shorthand's API and page, and through the least that would do and other chat apps.

The fake model takes a second for each. Apps, model and clients share the cores; clients use bare sockets, since an HTTP
client took as much CPU as the app.
"""

import asyncio
import json
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import aiohttp
import httpx

from benchmarks.peer_rows.bench import Bench, Found, NotPossible, Turn, in_loop
from benchmarks.peer_rows.chat_apps import ChatApp, chat_apps

STREAMS, _ALONE = 100, 5
_LINE = 1 << 24  # bytes; a line is one event

Ask = Callable[[], AsyncIterator[str]]  # the lines with text of one answer, until it has ended
Open = Callable[[int], Awaitable[Sequence[Ask]]]  # as many browsers or programs, ready to ask


def measure(bench: Bench) -> Found:
    with chat_apps(bench, with_open_webui=False) as apps, asyncio.Runner() as runner:
        clients: dict[str, tuple[ChatApp, Open]] = {
            "raw SSE": (apps["raw SSE"], _programs(apps["raw SSE"])),
            "Shorthand, API": (apps["Shorthand"], _programs(apps["Shorthand"])),
            "Shorthand, page": (
                apps["Shorthand"],
                _tabs(apps["Shorthand"], "chat-send", ["hello", "desk", None, None]),
            ),
            "Gradio ChatInterface": (
                apps["Gradio ChatInterface"],
                _tabs(apps["Gradio ChatInterface"], "answer", ["hello", None]),
            ),
        }
        if "chainlit" in apps:
            clients["chainlit"] = (apps["chainlit"], _sockets(apps["chainlit"]))
        for app, open_clients in clients.values():
            runner.run(_turn(app, open_clients, 1))
        return bench.in_turn({way: in_loop(runner, partial(_turn, *asked)) for way, asked in clients.items()})


async def _turn(app: ChatApp, open_clients: Open, streams: int = STREAMS) -> Turn:
    asks = await open_clients(_ALONE + streams)
    alone = [await _first_s(ask()) for ask in asks[:_ALONE]]
    used, began = app.cpu_s(), time.monotonic()
    together = await asyncio.gather(*(_first_s(ask()) for ask in asks[_ALONE:]))
    return {
        "first text alone, ms": 1000 * statistics.median(alone),
        "first text of 100, ms": 1000 * statistics.median(together),
        "all of 100, s": time.monotonic() - began,
        "CPU of the app for each, ms": 1000 * (app.cpu_s() - used) / streams,
    }


async def _first_s(answer: AsyncIterator[str]) -> float:
    began, first = time.monotonic(), None
    async for _ in answer:
        first = first or time.monotonic() - began
    if first is None:
        raise NotPossible("An answer without text.")
    return first


def _programs(app: ChatApp) -> Open:
    """Programs that speak OpenAI's chat completions."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
    body = json.dumps({"model": "desk", "messages": messages, "stream": True})

    async def ask() -> AsyncIterator[str]:
        async for line in _lines(app, "POST /v1/chat/completions", body):
            if "word" in line:
                yield line
            if "[DONE]" in line:
                return

    async def opened(count: int) -> Sequence[Ask]:
        return [ask] * count

    return opened


def _tabs(app: ChatApp, button: str, data: Sequence[Any]) -> Open:
    """Tabs of a Gradio app, as they talk to it: the page's load first, then a press on the button."""
    config = httpx.get(f"{app.url}/config", trust_env=False).json()
    press, load = _event(config, button), _event(config, None)

    async def tab() -> Ask:
        name = uuid.uuid4().hex[:11]
        async for _ in _called(app, name, load, [None]):
            pass

        async def ask() -> AsyncIterator[str]:
            async for line in _called(app, name, press, data):
                if "word" in line:
                    yield line

        return ask

    async def opened(count: int) -> Sequence[Ask]:
        return await asyncio.gather(*(tab() for _ in range(count)))

    return opened


def _event(config: dict[str, Any], name: str | None) -> int | None:
    """The number of the event of a button, or of one with this name for programs; of none the page's load."""
    ids = (
        [one["id"] for one in config["components"] if one["props"].get("elem_id") == name] if name else [None]
    )
    for one in config["dependencies"]:
        kinds = [kind for id, kind in one["targets"] if id in ids or not name]
        if (one["api_name"] == name) if name and not ids else ("click" if name else "load") in kinds:
            return int(one["id"])
    return None


async def _called(app: ChatApp, tab: str, event: int | None, data: Sequence[Any]) -> AsyncIterator[str]:
    """What the app sends to a tab about one event."""
    if event is None:
        return
    call = json.dumps({"data": data, "fn_index": event, "session_hash": tab})
    async for _ in _lines(app, "POST /gradio_api/queue/join", call):
        pass
    async for line in _lines(app, f"GET /gradio_api/queue/data?session_hash={tab}"):
        yield line
        if "process_completed" in line:
            return


async def _lines(app: ChatApp, what: str, body: str = "") -> AsyncIterator[str]:
    """The lines of an answer as they come; an event is one line of one chunk. Raises NotPossible."""
    reader, writer = await asyncio.open_connection("127.0.0.1", app.port, limit=_LINE)
    with closing(writer):
        headers = f"host: 127.0.0.1\r\nconnection: close\r\ncontent-length: {len(body)}\r\n"
        headers += "content-type: application/json\r\n"
        writer.write(f"{what} HTTP/1.1\r\n{headers}\r\n{body}".encode())
        status = (await reader.readline()).decode()
        if " 200 " not in status:
            raise NotPossible(f"{what} was answered with {status}")
        while line := await reader.readline():
            yield line.decode()


def _sockets(app: ChatApp) -> Open:
    """Browsers of chainlit: Socket.IO over a WebSocket, where 2 asks for a 3, and 42 is an event."""

    async def socket() -> Ask:
        session = aiohttp.ClientSession()
        end = await session.ws_connect(f"{app.url}/ws/socket.io/?EIO=4&transport=websocket", max_msg_size=0)
        auth = {"clientType": "webapp", "sessionId": str(uuid.uuid4()), "userEnv": "{}"}
        await end.send_str("40" + json.dumps(auth))
        await end.send_str('42["connection_successful"]')

        async def ask() -> AsyncIterator[str]:
            begun = False
            message = {"id": str(uuid.uuid4()), "name": "user", "type": "user_message", "output": "hello"}
            message["createdAt"] = "2026-01-01T00:00:00Z"
            await end.send_str(
                "42" + json.dumps(["client_message", {"message": message, "fileReferences": []}])
            )
            async for said in end:
                if said.data == "2":
                    await end.send_str("3")
                elif said.data.startswith('42["stream_') and "word" in said.data:
                    yield said.data
                    begun = True
                elif said.data.startswith('42["task_end"') and begun:  # one comes before the first task, too
                    await session.close()
                    return

        return ask

    async def opened(count: int) -> Sequence[Ask]:
        return await asyncio.gather(*(socket() for _ in range(count)))

    return opened
