"""The fake vLLM of the tests as a process that can be killed: for what is about processes, not about answers.

In: nothing. Out: its address and its process. Place in the flow: under `two_trainers` and `chaos`. Does not know what
is asked.
"""

from __future__ import annotations

import subprocess
import sys
import time

from assistant.vllm_server import is_healthy
from benchmarks.servers.app_process import ROOT, AppFailed, free_port

_WITHIN_S = 60.0


class FakeServer:
    """Listens within its context, and again after `kill` and `start`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> float:
        """Seconds until it answered; raises AppFailed."""
        began = time.monotonic()
        self._process = subprocess.Popen([sys.executable, "-m", "tests.fake_vllm", str(self.port)], cwd=ROOT)
        while not is_healthy(self.url):
            if time.monotonic() - began > _WITHIN_S or self._process.poll() is not None:
                raise AppFailed(f"The fake server did not answer at {self.url} within {_WITHIN_S:.0f} s.")
            time.sleep(0.01)
        return time.monotonic() - began

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> FakeServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
