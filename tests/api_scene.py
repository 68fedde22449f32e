"""The API over a fake vLLM on a loopback port, as programs reach it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from desk_scene import Desk, make_desk
from fake_vllm import FakeVllm
from openai import DefaultHttpxClient, OpenAI
from opentelemetry.trace import Tracer
from page_client import HTTP, post
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from word_embedder import WordEmbedder

from assistant.api.app import Api, in_front
from assistant.api.metrics import Metrics
from assistant.chat import Chat
from assistant.retrieval import Retriever
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmClient
from assistant.vllm_health import Phase, ServerState
from assistant.vllm_pool import VllmPool
from assistant.web.server import PageServer
from store import Store

READY = ServerState(Phase.READY, "ready", 0.0)


@dataclass
class Scene:
    """A running API, and its store and fake server."""

    desk: Desk
    url: str
    routes: list[Route]

    def client(self, key: str = "none") -> OpenAI:
        http = DefaultHttpxClient(**HTTP)
        return OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, http_client=http)

    def post(self, path: str, body: Any, key: str | None = None, **headers: str) -> httpx.Response:
        given = headers | ({"authorization": f"Bearer {key}"} if key else {})
        return post(self.url + path, json=body, headers=given)

    def ask(self, *contents: str, **fields: Any) -> httpx.Response:
        """The last of `contents` is asked, after the others in turn."""
        roles = ("user", "assistant")
        messages = [{"role": roles[n % 2], "content": one} for n, one in enumerate(contents)]
        return self.post("/v1/chat/completions", {"model": "bank", "messages": messages} | fields)


@contextmanager
def api(
    store: Store,
    tokenizer: ChatTokenizer,
    vllm: FakeVllm,
    directory: Path,
    key_required: Callable[[], bool] = lambda: False,
    state: ServerState = READY,
    tracer: Tracer | None = None,
) -> Iterator[Scene]:
    desk = make_desk(store, tokenizer, vllm, directory)
    desk.retriever = Retriever(store, WordEmbedder())
    pool = VllmPool([VllmClient(vllm.url)])
    metrics = Metrics(store)
    chat = Chat(
        store, pool, tokenizer, "base hash", desk.adapters, desk.limits, desk.retriever, metrics.answered
    )
    made = Api(store, chat, tokenizer, WordEmbedder(), metrics, lambda: state, key_required, tracer)
    server = PageServer(in_front(made.app(), PlainTextResponse("a page")), "127.0.0.1", 0, on_stop=pool.close)
    server.start()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Scene(desk, f"http://127.0.0.1:{port}", made.routes())
    finally:
        server.stop()
