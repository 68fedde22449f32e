"""Shorthand and other chat apps in front of one fake model that answers at once, each a process of its own."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from assistant.assistants import create_assistant
from assistant.prompt_text import parse
from assistant.tokenizer import ChatTokenizer
from benchmarks.peer_rows.bench import Bench, NotPossible
from benchmarks.peer_rows.installed import environment
from benchmarks.processes import ROOT, AppProcess, FakeServer, answers, free_port
from store import Store

WORDS, PACE_S = 50, 0.02  # of an answer: a second
_READY_WITHIN_S = 400.0  # on a busy machine open-webui takes minutes
_CHAINLIT = ("chainlit==2.12.0", "httpx-aiohttp")
_OPEN_WEBUI = ("open-webui==0.12.4",)
# Nothing is asked of the model, and nothing fetched, but what the person asks.
_QUIET = (
    "TITLE_GENERATION",
    "TAGS_GENERATION",
    "FOLLOW_UP_GENERATION",
    "AUTOCOMPLETE_GENERATION",
    "OLLAMA_API",
)


@dataclass(frozen=True)
class ChatApp:
    """Where it listens, and the process whose CPU time, with that of its children, is counted."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        process = psutil.Process(self.pid)
        return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


@contextmanager
def chat_apps(bench: Bench, *, with_open_webui: bool) -> Iterator[dict[str, ChatApp]]:
    """By name; those that are not to be had here are left out with a remark."""
    with ExitStack() as stack:
        fake = stack.enter_context(FakeServer(WORDS, PACE_S)).url
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="chat-apps-")))
        ours = [sys.executable, "-m", "benchmarks.peer_rows.words"]
        apps = {"Shorthand": stack.enter_context(_shorthand(bench, folder, fake))}
        raw_port, port = free_port(), free_port()
        apps["raw SSE"] = _start(stack, folder, raw_port, [*ours, "raw", str(raw_port), fake], "/v1/models")
        apps["Gradio ChatInterface"] = _start(stack, folder, port, [*ours, "gradio", str(port), fake])
        with bench.unless_impossible("chainlit"):
            apps["chainlit"] = _chainlit(bench, stack, folder, fake)
        if with_open_webui:
            with bench.unless_impossible("open-webui"):
                apps["open-webui"] = _open_webui(bench, stack, folder, apps["raw SSE"])
        yield apps


@contextmanager
def _shorthand(bench: Bench, folder: Path, fake: str) -> Iterator[ChatApp]:
    data_dir, model_dir = folder / "shorthand", bench.model_dir()
    data_dir.mkdir()
    with Store(data_dir / "shorthand.sqlite") as store:
        tokenizer, prompt = ChatTokenizer.load(model_dir), parse("Be brief.")
        create_assistant(store, tokenizer, "Desk", "exact", prompt, (), "desk")
    with AppProcess(data_dir, "--model", str(model_dir), "--vllm-url", fake, "--no-trainer") as app:
        app.wait_for_page()
        app.wait_for_model()
        yield ChatApp(app.port, app.process.pid)


def _chainlit(bench: Bench, stack: ExitStack, folder: Path, fake: str) -> ChatApp:
    python, port = environment(bench, _CHAINLIT), free_port()
    shutil.copy(Path(__file__).with_name("chainlit_app.py"), folder)  # it writes its settings beside it
    words = [str(python), "-m", "chainlit", "run", str(folder / "chainlit_app.py"), "--headless"]
    return _start(stack, folder, port, [*words, "--port", str(port)], "/", {"FAKE_URL": fake})


def _open_webui(bench: Bench, stack: ExitStack, folder: Path, model: ChatApp) -> ChatApp:
    python, port = environment(bench, _OPEN_WEBUI), free_port()
    words = [str(python.with_name("open-webui")), "serve", "--host", "127.0.0.1", "--port", str(port)]
    settings = {
        "DATA_DIR": str(folder / "open-webui"),
        "WEBUI_SECRET_KEY": "of this benchmark",
        "WEBUI_AUTH": "False",
        "OPENAI_API_BASE_URL": f"{model.url}/v1",
        "OPENAI_API_KEY": "any",
        "OFFLINE_MODE": "True",
        "RAG_EMBEDDING_ENGINE": "openai",  # or it loads a model from a hub
        **{f"ENABLE_{name}": "False" for name in _QUIET},
    }
    return _start(stack, folder, port, words, "/health", settings)


def _start(
    stack: ExitStack,
    folder: Path,
    port: int,
    words: list[str],
    path: str = "/",
    settings: dict[str, str] | None = None,
) -> ChatApp:
    """Run an app until the stack closes, and wait until it answers. Raises NotPossible."""
    log = folder / f"{port}.log"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    environment |= {"GRADIO_ANALYTICS_ENABLED": "False", "SCARF_NO_ANALYTICS": "true"} | (settings or {})
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    stack.callback(process.wait)
    stack.callback(process.terminate)
    until = time.monotonic() + _READY_WITHIN_S
    while not answers(f"http://127.0.0.1:{port}", path):
        if process.poll() is not None or time.monotonic() > until:
            raise NotPossible(f"It did not start: {log.read_text(errors='replace')[-500:]}")
        time.sleep(0.5)
    return ChatApp(port, process.pid)
