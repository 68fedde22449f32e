"""A little server that speaks vLLM's routes and refuses what vLLM refuses, so that clients are tested over HTTP.

It keeps a prefix cache as vLLM does (blocks of 16 tokens, per model and salt) and a history of requests. Its
`fault` says what goes wrong next. Not an inference engine: nothing here multiplies matrices. `python -m
tests.fake_vllm PORT` is one that says which adapter's directory answered, for benchmarks that kill it.
"""

import asyncio
import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

BLOCK = 16
Answer = Callable[[str, Sequence[int]], str]
Greedy = Callable[[str, Sequence[int], int], list[tuple[int, float]]]


class How(StrEnum):
    """What goes wrong with a request."""

    DIES_BEFORE = "dies before the work"
    DIES_AFTER = "dies after the work"
    HANGS = "hangs, and does the work when it goes on"
    FAILS_AFTER = "answers 500 after the work"
    RESTARTED = "is restarted by hand with other adapters"


@dataclass
class Fault:
    """Of the `nth` request to a route from now on, counted from 1."""

    route: str
    nth: int
    how: How

    def is_due(self, path: str) -> bool:
        """Counts a request to `path`; true for the one that goes wrong."""
        self.nth -= path == self.route
        return path == self.route and self.nth == 0


def constant(model: str, ids: Sequence[int], count: int) -> list[tuple[int, float]]:
    """Tokens and their ln p: other ones for adapters, so that the two can be told apart."""
    return [(5, -1.0) if model == "base" else (6, -3.0)] * count


class FakeVllm:
    """One server. Change the public attributes to make it misbehave."""

    def __init__(
        self,
        answer: Answer = lambda model, ids: "ok",
        greedy: Greedy = constant,
        base: str = "base",
        key: str | None = None,
        max_loras: int = 4,
        max_model_len: int = 2048,
    ):
        self.answer, self.greedy = answer, greedy
        self.base, self.key, self.max_loras, self.max_model_len = base, key, max_loras, max_model_len
        self.adapters: dict[str, str] = {}
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.dies_after: int | None = None  # pieces of text, then the connection breaks
        self.breaks_off_after: int | None = None  # pieces of text, then an error event, as vLLM sends it
        self.ln_p: Callable[[str], float] = lambda piece: -0.5  # of a piece of a streamed answer
        self.finish_reason: str | None = None  # of every completion, instead of stop and length
        self.pace_s = 0.0  # between two pieces of a stream
        self.fails_with: int | None = None  # this status for every completion
        self.mixes_batches = False  # base requests beside adapter requests are answered by the adapter
        self.holds_after: int | None = None  # pieces of text, then streams wait for `go_on`
        self.go_on = threading.Event()
        self.fault: Fault | None = None
        self.others: dict[str, str] = {}  # the adapters of a restart by hand
        self.hung = False  # like SIGSTOP: requests are taken and nothing happens until it is False again
        self._server: _QuickServer | None = None
        self._thread: threading.Thread | None = None
        self.url = "http://fake"
        self.generated = 0.0
        self.streams = 0  # that have begun and not ended
        self.metrics: str | None = ""  # instead of its counters; None for no such route
        self.engine_died = False  # /health says so
        self._cached: set[tuple[str, str | None, tuple[int, ...]]] = set()
        self._running: Counter[str] = Counter()
        self.app = Starlette(
            routes=[
                Route("/health", self._perhaps(self._health)),
                Route("/metrics", self._perhaps(self._metrics)),
                Route("/v1/models", self._perhaps(self._models)),
                Route("/v1/completions", self._perhaps(self._completions), methods=["POST"]),
                Route("/v1/load_lora_adapter", self._perhaps(self._load), methods=["POST"]),
                Route("/v1/unload_lora_adapter", self._perhaps(self._unload), methods=["POST"]),
            ]
        )

    @property
    def in_flight(self) -> int:
        return sum(self._running.values())

    def restart(self) -> None:
        """As a restart by hand leaves it: no adapters, an empty cache."""
        self.adapters.clear()
        self._cached.clear()

    def asked(self, route: str = "/v1/completions") -> list[dict[str, Any]]:
        """The bodies of the requests that came to a route, oldest first."""
        return [body for path, body in self.requests if path == route]

    @contextmanager
    def serving(self, path: Path | None = None) -> Iterator[str]:
        """The server on a free loopback port, or on a Unix socket, in a thread; gives its URL."""
        self.rise(path=path)
        try:
            yield self.url
        finally:
            self.go_on.set()
            self.hung = False
            self._end()

    @property
    def is_up(self) -> bool:
        """A server that dies refuses new connections at once, and takes a moment to drop those it has."""
        dying = self._server is not None and self._server.should_exit
        return self._thread is not None and self._thread.is_alive() and not dying

    def rise(self, port: int | None = None, path: Path | None = None, host: str = "127.0.0.1") -> None:
        """Start listening; after a death on the same port, without any adapter, as a new process does."""
        if self._thread is not None:
            self._thread.join(5.0)
        listener = self._listen(host, port) if path is None else socket.socket(socket.AF_UNIX)
        if path is not None:
            listener.bind(str(path))
            self.url = f"unix:{path}"
        server = _QuickServer(
            uvicorn.Config(self.app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        )
        self._server = server
        self._thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
        self._thread.start()
        while not server.started:
            time.sleep(0.002)

    def _listen(self, host: str, port: int | None) -> socket.socket:
        known = self.url.rpartition(":")[2]
        # asyncio sends at once (TCP_NODELAY) only on sockets that say their protocol; without, each answer waits 40 ms.
        listener = socket.socket(proto=socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port or (int(known) if known.isdigit() else 0)))
        self.url = f"http://{host}:{listener.getsockname()[1]}"
        return listener

    def _end(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = self._server.force_exit = True
            self._thread.join(10)

    def _perhaps(
        self, handle: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """The route as it is, until `fault` says otherwise."""

        async def handled(request: Request) -> Response:
            await self._while_hung()
            fault = self.fault
            if fault is None or not fault.is_due(request.url.path):
                return await handle(request)
            self.fault = None
            if fault.how is How.DIES_BEFORE:
                return await self._die()
            if fault.how is How.HANGS:
                self.hung = True
                await self._while_hung()
            response = await handle(request)
            if fault.how is How.DIES_AFTER:
                return await self._die()
            if fault.how is How.FAILS_AFTER:
                return _error(500, "Something went wrong after the work was done.")
            if fault.how is How.RESTARTED:
                self.restart()
                self.adapters |= self.others
            return response

        return handled

    async def _while_hung(self) -> None:
        while self.hung:
            await asyncio.sleep(0.002)

    async def _die(self) -> Response:
        """The process is gone: connections break, new ones are refused, what was loaded is lost."""
        self.restart()
        if self._server is not None:
            self._server.should_exit = self._server.force_exit = True
        await asyncio.sleep(3600)  # cancelled when the loop ends
        raise AssertionError

    async def _health(self, request: Request) -> Response:
        return Response(status_code=503 if self.engine_died else 200)

    async def _metrics(self, request: Request) -> Response:
        if self.metrics != "":
            return PlainTextResponse(self.metrics or "Not found", 200 if self.metrics else 404)
        return PlainTextResponse(
            'vllm:prompt_tokens_total{model_name="base"} 1.0\n'
            f'vllm:generation_tokens_total{{model_name="base"}} {self.generated}\n'
        )

    async def _models(self, request: Request) -> Response:
        if refusal := self._unauthorized(request):
            return refusal
        cards = [{"id": self.base, "root": "/models/base", "parent": None}]
        cards += [{"id": name, "root": path, "parent": self.base} for name, path in self.adapters.items()]
        data = [{"object": "model", "max_model_len": self.max_model_len, **card} for card in cards]
        return JSONResponse({"object": "list", "data": data})

    async def _load(self, request: Request) -> Response:
        if refusal := self._unauthorized(request):
            return refusal
        body = await self._read(request)
        name, path = body["lora_name"], body["lora_path"]
        if name in self.adapters:
            return _error(400, f"The lora adapter '{name}' has already been loaded.")
        if not (Path(path) / "adapter_config.json").exists():
            return _error(404, f"Loading lora {name} failed: No adapter found for {path}")
        if len(self.adapters) >= self.max_loras:
            return _error(400, f"Loading lora {name} failed: all {self.max_loras} slots are in use.")
        self.adapters[name] = path
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, request: Request) -> Response:
        if refusal := self._unauthorized(request):
            return refusal
        name = (await self._read(request))["lora_name"]
        if name not in self.adapters:
            return _error(404, f"The lora adapter '{name}' cannot be found.")
        del self.adapters[name]
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

    async def _completions(self, request: Request) -> Response:
        if refusal := self._unauthorized(request):
            return refusal
        body = await self._read(request)
        model, ids = body["model"], body["prompt"]
        if self.fails_with:
            return _error(self.fails_with, "EngineCore encountered an issue.")
        if model != self.base and model not in self.adapters:
            return _error(404, f"The model `{model}` does not exist.")
        if not isinstance(ids, list) or not ids or not all(isinstance(token, int) for token in ids):
            return _error(400, "This server takes token ids alone, so that no text becomes a control token.")
        if "prompt_logprobs" in body:
            return _error(400, "vLLM 0.32 on CPU dies of prompt_logprobs beside an adapter's request.")
        if len(ids) + body["max_tokens"] > self.max_model_len:
            return _error(400, f"This model's maximum context length is {self.max_model_len} tokens.")
        self._running[model] += 1
        try:
            await asyncio.sleep(0.01 if self.mixes_batches else 0)  # time for a batch to come together
            answered_by = self._who_answers(model)
            if not body.get("stream"):
                return JSONResponse(await self._whole(answered_by, body))
        finally:
            self._running[model] -= 1
        return StreamingResponse(
            self._counted(self._events(answered_by, body)), media_type="text/event-stream"
        )

    def _who_answers(self, model: str) -> str:
        beside = [name for name, count in self._running.items() if count and name != self.base]
        return beside[0] if self.mixes_batches and model == self.base and beside else model

    async def _whole(self, model: str, body: dict[str, Any]) -> dict[str, Any]:
        if "logprobs" in body:
            following = self.greedy(model, body["prompt"], body["max_tokens"])
            tokens, ln_ps = [token for token, _ in following], [ln_p for _, ln_p in following]
            choice: dict[str, Any] = {"text": "", "token_ids": tokens, "logprobs": {"token_logprobs": ln_ps}}
            return {"choices": [choice | {"index": 0, "finish_reason": "length"}]}
        pieces, reason, usage = self._answer(model, body)
        while self.holds_after is not None and not self.go_on.is_set():
            await asyncio.sleep(0.002)
        choice = {"index": 0, "text": "".join(pieces), "finish_reason": reason}
        return {"choices": [choice], "usage": usage}

    async def _counted(self, events: AsyncIterator[str]) -> AsyncIterator[str]:
        self.streams += 1
        try:
            async for event in events:
                yield event
        finally:
            self.streams -= 1

    async def _events(self, model: str, body: dict[str, Any]) -> AsyncIterator[str]:
        pieces, reason, usage = self._answer(model, body)
        for number, piece in enumerate(pieces):
            if number == self.dies_after:
                raise ConnectionResetError("The fake server dies in the middle of an answer.")
            if number == self.breaks_off_after:
                yield _event({"error": {"message": "EngineCore died", "code": 500}})
                return
            while number == self.holds_after and not self.go_on.is_set():
                await asyncio.sleep(0.002)
            if self.pace_s:
                await asyncio.sleep(self.pace_s)
            choice: dict[str, Any] = {"index": 0, "text": piece, "finish_reason": None}
            if "logprobs" in body:
                choice["logprobs"] = {"token_logprobs": [self.ln_p(piece)], "tokens": [piece]}
                if body["logprobs"]:
                    choice["logprobs"]["top_logprobs"] = [{piece: self.ln_p(piece), "other": -9.0}]
            yield _event({"choices": [choice]})
        yield _event({"choices": [{"index": 0, "text": "", "finish_reason": reason}]})
        if body.get("stream_options", {}).get("include_usage"):
            yield _event({"choices": [], "usage": usage})
        yield "data: [DONE]\n\n"

    def _answer(self, model: str, body: dict[str, Any]) -> tuple[list[str], str, dict[str, Any]]:
        """Words stand in for tokens; an answer that ends by itself costs one more, the end token."""
        ids = body["prompt"]
        words = self.answer(model, ids).split(" ")
        pieces = [word if number == 0 else " " + word for number, word in enumerate(words)]
        reason = "stop" if len(pieces) < body["max_tokens"] else "length"
        reason = self.finish_reason or reason
        pieces = pieces[: body["max_tokens"]]
        self.generated += len(pieces)
        usage = {
            "prompt_tokens": len(ids),
            "completion_tokens": len(pieces) + (reason == "stop"),
            "prompt_tokens_details": {
                "cached_tokens": self._use_cache(model, body.get("cache_salt"), tuple(ids))
            },
        }
        return pieces, reason, usage

    def _use_cache(self, model: str, salt: str | None, ids: tuple[int, ...]) -> int:
        """How many leading tokens were there already, in whole blocks and never all; remembers the rest."""
        ends = range(BLOCK, len(ids), BLOCK)
        cached = max((end for end in ends if (model, salt, ids[:end]) in self._cached), default=0)
        self._cached |= {(model, salt, ids[:end]) for end in ends}
        return cached

    async def _read(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = await request.json()
        self.requests.append((request.url.path, body))
        return body

    def _unauthorized(self, request: Request) -> Response | None:
        if self.key is None or request.headers.get("authorization") == f"Bearer {self.key}":
            return None
        return JSONResponse({"error": "Unauthorized"}, 401)


class _QuickServer(uvicorn.Server):
    """uvicorn looks ten times a second whether it should end; over a hundred tests that adds up."""

    async def main_loop(self) -> None:
        while not self.should_exit:
            await asyncio.sleep(0.005)


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "BadRequestError", "code": status}}, status)


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body)}\n\n"


def main(port: int, words: int = 0, pace_s: float = 0.01, host: str = "127.0.0.1") -> None:
    fake = FakeVllm(max_loras=64)
    fake.pace_s = pace_s

    def name(model: str, ids: Sequence[int]) -> str:
        return (
            " ".join(["word"] * words) or f"this is answered by {Path(fake.adapters.get(model, 'base')).name}"
        )

    fake.answer = name
    fake.rise(port, host=host)
    threading.Event().wait()


if __name__ == "__main__":
    main(int(sys.argv[1]), *(kind(text) for kind, text in zip((int, float, str), sys.argv[2:], strict=False)))
