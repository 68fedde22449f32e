"""A model behind OpenAI's route that says what a test wants."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trainer import chat_model


class FakeChatModel:
    """`replies` are given in turn, the last one again and again; or `answer` makes them of the last message."""

    def __init__(self) -> None:
        self.replies: list[str | int] = ["10"]
        self.answer: Callable[[str], str] | None = None
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.url = ""

    async def complete(self, request: Request) -> Response:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("authorization"))
        if self.answer is not None:
            reply: str | int = self.answer(self.asked[-1]["messages"][-1]["content"])
        else:
            reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, int):
            return JSONResponse({"error": {"message": "no"}}, reply)
        return JSONResponse({"choices": [{"message": {"role": "assistant", "content": reply}}]})


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeChatModel]:
    """On a loopback port, at `url`; nobody waits before asking again."""
    monkeypatch.setattr(chat_model, "_FIRST_PAUSE_S", 0.0)
    fake = FakeChatModel()
    app = Starlette(routes=[Route("/v1/chat/completions", fake.complete, methods=["POST"])])
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        running = uvicorn.Server(
            uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=lambda: asyncio.run(running.serve([listener])), daemon=True)
        thread.start()
        while not running.started:
            time.sleep(0.002)
        fake.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield fake
        running.should_exit = running.force_exit = True
        thread.join(10)
