"""Servers as the app starts them: those of a running app, or a vLLM of our own with random adapters and no page."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from assistant.adapter_files import fingerprint
from assistant.assistants import create_assistant
from assistant.chat import Chat
from assistant.embedding import Embedder
from assistant.limits import ChatLimits
from assistant.prompt_text import parse
from assistant.retrieval import Retriever
from assistant.serving import ServerAddress
from assistant.startup import resolve
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmClient
from assistant.vllm_health import is_healthy
from assistant.vllm_pool import VllmPool
from assistant.vllm_server import VllmServer
from benchmarks import random_adapters
from benchmarks.processes import AppFailed, AppProcess, FakeServer
from store import Store

_READY_WITHIN_S = 400.0
_HEALTHY_WITHIN_S = 180.0  # the app starts a vLLM that died again, which takes a minute on two cores
_POLL_S = 2.0
# Options of the commands that start one.
ModelDir = Annotated[str | None, typer.Option(help="Model directory; default: the embedded one.")]
Layers = Annotated[
    int | None, typer.Option(min=1, help="Cut the model to so many layers: quicker, and as real.")
]


class Serving:
    """The servers of a running app's data directory, with what is needed to chat and to measure."""

    def __init__(self, data_dir: Path, store: Store):
        """Raises NoServer, TokenizerError."""
        self.store = store
        self.address = ServerAddress.read(data_dir)
        self.tokenizer = ChatTokenizer.load(Path(self.address.model_dir))
        self.base = fingerprint(Path(self.address.model_dir))
        self.adapters = data_dir / "adapters"
        self.retriever = Retriever(store, Embedder(Path(self.address.embedding_model)))

    async def pool(self) -> VllmPool:
        """Connections for the running event loop; raises VllmError."""
        return await VllmPool.connect(self.address.urls, self.address.key)

    def chat(self, pool: VllmPool) -> Chat:
        """As `app.py` makes it for the page."""
        limits = ChatLimits(self.address.context)
        return Chat(self.store, pool, self.tokenizer, self.base, self.adapters, limits, self.retriever)


@contextmanager
def desk_app(
    prompt: str, words: int, pace_s: float, model: str | None = None
) -> Iterator[tuple[AppProcess, ChatTokenizer, FakeServer | None]]:
    """An app with the one assistant “desk”, answered by a fast fake of so many words, or by the model itself where
    these are 0. Raises AppFailed, ModelNotFound.
    """
    with ExitStack() as stack:
        data_dir = Path(stack.enter_context(TemporaryDirectory(prefix="desk-")))
        model_dir = resolve(model, data_dir)
        tokenizer = ChatTokenizer.load(model_dir)
        with Store(data_dir / "shorthand.sqlite") as store:
            create_assistant(store, tokenizer, "Desk", "exact", parse(prompt), (), "desk")
        fake = stack.enter_context(FakeServer(words, pace_s)) if words else None
        url = ["--vllm-url", fake.url] if fake else []
        app = stack.enter_context(AppProcess(data_dir, "--model", str(model_dir), "--no-trainer", *url))
        app.wait_for_page()
        app.wait_for_model(_READY_WITHIN_S)
        yield app, tokenizer, fake


async def wait_until_answered(ask: Callable[[], Awaitable[object]], refused: type[Exception]) -> None:
    """Ask until it is not refused: a server that answers may still get its adapters."""
    for _ in range(int(_HEALTHY_WITHIN_S / _POLL_S)):
        try:
            await ask()
            return
        except refused:
            await asyncio.sleep(_POLL_S)
    raise AppFailed(f"The app does not answer within {_HEALTHY_WITHIN_S:.0f} s.")


async def wait_until_healthy(pool: VllmPool) -> None:
    """Wait for servers that are away; at least a moment, so that a retry is not at once."""
    for _ in range(int(_HEALTHY_WITHIN_S / _POLL_S)):
        await asyncio.sleep(_POLL_S)
        if all(is_healthy(client.url) for client in pool.each()):
            return


def model_dir(data_dir: Path, model: str | None, layers: int | None = None) -> Path:
    """The first `layers` of the model; raises ModelNotFound, CalledProcessError where it cannot be cut."""
    whole = resolve(model, data_dir)
    if layers is None:
        return whole
    return random_adapters.cut_model(whole, data_dir / "models" / f"{layers}-layers", layers)


class OwnServer:
    """Enter it to wait until vLLM is ready; raises AppFailed, ModelNotFound, TokenizerError."""

    def __init__(self, data_dir: Path, model: str | None, layers: int | None = None):
        self.model_dir = model_dir(data_dir, model, layers)
        self._scale = random_adapters.SCALE if layers is None else random_adapters.SCALE_OF_FEW_LAYERS
        self.tokenizer = ChatTokenizer.load(self.model_dir)
        self.base = fingerprint(self.model_dir)
        self.adapters, self.templates = data_dir / "adapters", data_dir / "templates"
        self.adapters.mkdir(exist_ok=True)
        self.store = Store(data_dir / "shorthand.sqlite")
        self._log = data_dir / "vllm.log"
        self._ready = threading.Event()
        self._server = VllmServer(self.model_dir, self._log, 2048)
        self.url = self._server.url

    def make_random_adapters(self, count: int = 3) -> list[str]:
        return random_adapters.make(self.model_dir, self.templates, count, self.base, self._scale)

    def pool(self) -> VllmPool:
        """Connections for the running event loop."""
        return VllmPool([VllmClient(self.url)])

    def __enter__(self) -> OwnServer:
        self._server.start(lambda _: self._ready.set())
        if not self._ready.wait(_READY_WITHIN_S):
            self._server.stop()
            log = self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""
            raise AppFailed(f"vLLM was not ready within {_READY_WITHIN_S:.0f} s:\n{log}")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        self.store.close()
