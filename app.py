"""Starts store, vLLM, trainer and the web page, and takes everything down with itself."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TextIO
from urllib.parse import urlsplit

import typer

from assistant.adapter_files import fingerprint
from assistant.assistants import load_sample
from assistant.chat import Chat
from assistant.embedding import Embedder, EmbeddingError
from assistant.external_servers import ExternalServers
from assistant.limits import ChatError, ChatLimits
from assistant.listen_options import RequestLogTarget, RootPath, TrustedProxy
from assistant.retrieval import Retriever
from assistant.serving import ServerAddress, prepare
from assistant.startup import (
    ModelNotFound,
    complaints,
    context_length,
    is_loopback,
    model_problem,
    resolve,
    unguarded,
)
from assistant.supervisor import Supervisor
from assistant.tokenizer import ChatTokenizer, TokenizerError
from assistant.vllm_pool import VllmPool
from assistant.vllm_server import VllmServer
from store import Store, StoreError, tracebacks
from store.accounts import UserRole
from store.garbage import collect_rarely
from trainer.settings import BadSetting, TrainerSettings, override

if TYPE_CHECKING:
    from assistant.web.access import Services
    from assistant.web.server import PageServer


def _urls(given: list[str] | None) -> list[str] | None:
    for one in given or ():
        try:
            parts = urlsplit(one)
            is_server = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            is_server = False
        if not is_server:
            raise typer.BadParameter(
                f"{one!r} is no address of a server. Give one such as http://127.0.0.1:8000."
            )
    return given


def main(
    model: Annotated[
        str | None, typer.Option(help="Model directory or hub id; default: the embedded SmolLM2-135M.")
    ] = None,
    embedding_model: Annotated[
        Path | None,
        typer.Option(help="Directory of the model that finds like questions; default: the embedded MiniLM."),
    ] = None,
    vllm_url: Annotated[
        list[str] | None,
        typer.Option(callback=_urls, help="A running vLLM to use instead of an own one; may be repeated."),
    ] = None,
    vllm_key: Annotated[
        str | None, typer.Option(envvar="SHORTHAND_VLLM_KEY", help="API key of --vllm-url.")
    ] = None,
    data_dir: Annotated[
        Path, typer.Option(envvar="SHORTHAND_DATA_DIR", help="Everything that Shorthand keeps.")
    ] = Path("data"),
    host: Annotated[
        str, typer.Option(help="Address of the page; others than loopback need users.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = 7860,
    trusted_proxy: TrustedProxy = None,
    root_path: RootPath = "",
    request_log: RequestLogTarget = None,
    trainer: Annotated[bool, typer.Option("--trainer/--no-trainer", help="Retrain by itself.")] = True,
    sample: Annotated[
        bool, typer.Option("--sample", help="Load the sample assistant with its rated answers.")
    ] = False,
    answer_tokens: Annotated[
        int | None,
        typer.Option(
            min=16, help="The longest answer; default: the setting max_answer_tokens, which it changes."
        ),
    ] = None,
    messages_per_minute: Annotated[int, typer.Option(min=1, help="Of each signed-in user.")] = 20,
    ratings_per_minute: Annotated[int, typer.Option(min=1, help="Of each signed-in user.")] = 60,
    answers_at_once: Annotated[
        int, typer.Option(min=1, help="Written at the same time for each signed-in user.")
    ] = 4,
) -> None:
    """Chat with a model, rate its answers, and watch its prompt get shorter.

    Example: python app.py --model ./my-model --data-dir ./team-data
    """
    for output in (sys.stdout, sys.stderr):  # a terminal of another encoding must not end the start
        if isinstance(output, TextIOWrapper):
            output.reconfigure(errors="replace")
    # What the environment says to Gradio is for other programs, and one wrong value stopped the start.
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    # The page must never fetch or report anything from elsewhere.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
    lock = _lock(data_dir)
    if scratch := os.environ.get("TMPDIR"):
        _make_scratch(Path(scratch), data_dir)
    for complaint in complaints(data_dir, host, port, own_server=not vllm_url):
        _fail(complaint)
    if answer_tokens:  # the trainer, which reads it there, must not leave out what the chat may write
        os.environ["SHORTHAND_SET"] = (
            f"{os.environ.get('SHORTHAND_SET', '')} max_answer_tokens={answer_tokens}"
        )
    try:
        settings = override(TrainerSettings(), os.environ.get("SHORTHAND_SET", "").split())
        store = Store(data_dir / "shorthand.sqlite")
        model_dir = resolve(model, data_dir)
        # From here on this machine talks to itself and to --vllm-url: a proxy for the web is in the way of both, in the
        # processes that are started too.
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            del os.environ[name]
        tokenizer = ChatTokenizer.load(model_dir)
        context = context_length(model_dir)
        limits = ChatLimits(context, min(settings.max_answer_tokens, context // 2))
        if answer_tokens and answer_tokens > limits.answer:
            raise ChatError(
                f"--answer-tokens {answer_tokens:,} leaves too little room: the model takes {context:,} tokens in all. "
                f"Choose at most {limits.answer:,}."
            )
        embedder = Embedder(embedding_model)
        store.messages.end_streaming()
        if sample:
            load_sample(store, tokenizer, limits)
    except BadSetting as error:
        _fail(f"SHORTHAND_SET: {error}")
    except (StoreError, ModelNotFound, TokenizerError, ChatError, EmbeddingError) as error:
        _fail(str(error))
    has_admin = any(user.role is UserRole.ADMIN for user in store.users.all())
    if open_to_all := unguarded(host, has_admin, data_dir):
        _fail(open_to_all)

    data_dir = data_dir.resolve()
    base, adapters = fingerprint(model_dir), data_dir / "adapters"
    adapters.mkdir(exist_ok=True)
    server: VllmServer | ExternalServers
    if vllm_url:
        server = ExternalServers(vllm_url)
    else:
        server, vllm_key = VllmServer(model_dir, data_dir / "logs" / "vllm.log"), None
    address = ServerAddress(
        *(server.urls, vllm_key, str(model_dir), limits.context, str(embedder.directory), limits.answer)
    )
    address.write(data_dir)
    pool = VllmPool.following(server, vllm_key)

    def on_ready(url: str) -> None:
        asyncio.run(prepare(store, pool, replace(address, urls=(url,)), adapters, base, tokenizer))
        replace(address, urls=server.urls, context=pool.context or limits.context).write(data_dir)

    server.start(on_ready)
    # Gradio takes seconds to import; what is wrong is said before, and vLLM starts meanwhile.
    from assistant.api.app import Api, in_front
    from assistant.api.metrics import Metrics
    from assistant.api.tracing import tracer_of_environment
    from assistant.request_log import RequestLog
    from assistant.web.access import Access, RateLimits, Services
    from assistant.web.app import build, web_app
    from assistant.web.server import PageServer
    from trainer.examples.dataset import dataset_stats

    retriever = Retriever(store, embedder)
    metrics = Metrics(store)
    services = Services(
        store,
        Access(store, always=not is_loopback(host)),
        tokenizer,
        Chat(store, pool, tokenizer, base, adapters, limits, retriever, metrics.answered),
        lambda: server.state,
        trainer_expected=trainer,
        dataset_now=lambda assistant_id: dataset_stats(store, assistant_id, settings),
        rates=RateLimits(messages_per_minute, ratings_per_minute, answers_at_once),
        model_problem=lambda: model_problem(data_dir, base),
    )
    key_required = services.access.sign_in_required
    api = Api(
        store,
        services.chat,
        tokenizer,
        embedder,
        metrics,
        services.server_state,
        key_required,
        tracer_of_environment(),
    )
    pages = web_app(services, build(services))
    front = RequestLog(in_front(api.app(), pages), request_log or str(data_dir / "logs" / "requests.log"))
    page = PageServer(front, host, port, trusted_proxy or (), root_path, on_stop=pool.close)
    _run(page, services, server, retriever, data_dir)
    lock.close()


def _run(
    page: PageServer,
    services: Services,
    server: VllmServer | ExternalServers,
    retriever: Retriever,
    data_dir: Path,
) -> None:
    """Serve until a signal asks to end, then take everything down."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    only = [] if services.trainer_expected else ["--no-retrain"]
    watch = Supervisor(
        [sys.executable, "-m", "trainer", "watch", "--data-dir", str(data_dir), *only],
        os.environ,
        data_dir / "logs" / "trainer.log",
        on_line=services.trainer_lines.append,
    )
    check = subprocess.Popen(
        [sys.executable, "-m", "trainer.training.model_check", str(data_dir)],
        cwd=Path(__file__).parent,
        stdin=subprocess.PIPE,  # it ends when this is closed, however this process ends
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        threading.Thread(target=_keep_prepared, args=[retriever, ended], name="vectors", daemon=True).start()
        watch.start()
        collect_rarely()  # all that stays is loaded by now
        page.start()
        print(f"Shorthand is on {page.url}  (Ctrl-C ends it; data in {data_dir})", flush=True)
        ended.wait()
    finally:
        print("Stopping ...", flush=True)
        page.stop()
        check.terminate()
        watch.stop()
        server.stop()
        services.store.close()


def _keep_prepared(retriever: Retriever, ended: threading.Event) -> None:
    """Make the vectors of new demonstrations before anybody asks."""
    while not ended.wait(1.0):
        try:
            retriever.prepare()
        except (StoreError, EmbeddingError) as error:
            print(f"Approved answers cannot be found by likeness: {error}", file=sys.stderr, flush=True)
            ended.wait(60.0)


def _lock(data_dir: Path) -> TextIO:
    """One app per data directory; the kernel lets go of the lock when the app ends, however it ends."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        file = (data_dir / "app.lock").open("w")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _fail(f"Another app uses {data_dir}. Stop it, or choose another --data-dir.")
    except OSError as error:
        _fail(
            f"The data directory {data_dir} cannot be used: {error.strerror}. Choose another --data-dir, a "
            "directory that you may write to."
        )
    return file


def _make_scratch(path: Path, data_dir: Path) -> None:
    """In a container TMPDIR may lie in the data directory, and then outlives a kill."""
    path.mkdir(parents=True, exist_ok=True)
    if path.resolve().is_relative_to(data_dir.resolve()):
        for left in path.glob("shorthand-" + "?" * 16):
            shutil.rmtree(left, ignore_errors=True)


def _fail(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(2)


if __name__ == "__main__":
    # As process 1 of a container it would ignore what it does not handle; later `_run` handles it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    tracebacks.run(lambda: typer.run(main))
