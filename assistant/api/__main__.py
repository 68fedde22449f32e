"""`python -m assistant.api`: one more process that answers programs, beside the app of the same data directory.

Python computes on one core a process. A proxy spreads the requests; the app alone has the pages, vLLM and the trainer.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from starlette.responses import PlainTextResponse

from assistant.adapter_files import fingerprint
from assistant.api.app import Api, in_front
from assistant.api.metrics import Metrics
from assistant.api.tracing import tracer_of_environment
from assistant.chat import Chat
from assistant.embedding import Embedder, EmbeddingError
from assistant.external_servers import ExternalServers
from assistant.limits import ChatLimits
from assistant.listen_options import RequestLogTarget, RootPath, TrustedProxy
from assistant.request_log import RequestLog
from assistant.retrieval import Retriever
from assistant.serving import NoServer, ServerAddress, prepare
from assistant.startup import is_loopback, taken, unguarded
from assistant.tokenizer import ChatTokenizer, TokenizerError
from assistant.vllm_pool import VllmPool
from assistant.web.server import PageServer
from store import Store, StoreError, tracebacks
from store.accounts import UserRole
from store.garbage import collect_rarely

_NOT_FOUND = b"Programs are answered here. The pages are on the app's own port.\n"


def main(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port for programs; the app has another one.")],
    data_dir: Annotated[
        Path, typer.Option(envvar="SHORTHAND_DATA_DIR", help="The data directory of a running app.")
    ] = Path("data"),
    host: Annotated[str, typer.Option(help="Address; others than loopback need users.")] = "127.0.0.1",
    trusted_proxy: TrustedProxy = None,
    root_path: RootPath = "",
    request_log: RequestLogTarget = None,
) -> None:
    """Answer programs in one more process, on the store and the model servers of a running app.

    Example: python -m assistant.api --port 7861
    """
    if problem := taken(host, port):
        _fail(problem)
    try:
        address = ServerAddress.read(data_dir)
        store = Store(data_dir / "shorthand.sqlite", create=False)
        tokenizer = ChatTokenizer.load(Path(address.model_dir))
        embedder = Embedder(Path(address.embedding_model))
        has_admin = any(user.role is UserRole.ADMIN for user in store.users.all())
    except (NoServer, StoreError, TokenizerError, EmbeddingError) as error:
        _fail(str(error))
    if open_to_all := unguarded(host, has_admin, data_dir):
        _fail(open_to_all)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]  # for the web; the servers are asked directly

    data_dir, ended, outdated = data_dir.resolve(), threading.Event(), threading.Event()
    base, adapters = fingerprint(Path(address.model_dir)), data_dir / "adapters"

    def urls_now() -> Sequence[str]:
        """The app starts vLLM at another address each time."""
        try:
            now = ServerAddress.read(data_dir)
        except NoServer:
            return server.urls
        if replace(now, urls=(), context=0) == replace(address, urls=(), context=0):
            return now.urls
        outdated.set()
        ended.set()
        return server.urls

    server = ExternalServers(address.urls, urls_now)
    pool = VllmPool.following(server, address.key)
    limits = ChatLimits(address.context, address.answer_tokens)
    retriever, metrics = Retriever(store, embedder), Metrics(store)
    chat = Chat(store, pool, tokenizer, base, adapters, limits, retriever, metrics.answered)
    api = Api(
        *(store, chat, tokenizer, embedder, metrics, lambda: server.state),
        lambda: not is_loopback(host) or store.users.any(),
        tracer_of_environment(),
    )
    front = RequestLog(
        in_front(api.app(), PlainTextResponse(_NOT_FOUND, 404)),
        request_log or str(data_dir / "logs" / f"requests-{port}.log"),
    )
    page = PageServer(front, host, port, trusted_proxy or (), root_path, on_stop=pool.close)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())

    def on_ready(url: str) -> None:
        asyncio.run(prepare(store, pool, replace(address, urls=(url,)), adapters, base, tokenizer))

    try:
        retriever.prepare()
        server.start(on_ready)
        collect_rarely()
        page.start()
        print(f"Programs are answered on {page.url}/v1  (Ctrl-C ends it; data in {data_dir})", flush=True)
        ended.wait()
    finally:
        page.stop()
        server.stop()
        store.close()
    if outdated.is_set():
        _fail("The app was started with another model or other settings. Start this process again.")


def _fail(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(2)


if __name__ == "__main__":
    tracebacks.run(lambda: typer.run(main))
