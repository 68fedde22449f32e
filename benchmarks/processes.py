"""The app, the trainer, and the fake vLLM of the tests as processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from assistant.serving import NoServer, ServerAddress
from assistant.vllm_connection import blocking_client
from assistant.vllm_health import is_healthy
from store import Store
from store.records import TrainingRun

ROOT = Path(__file__).parent.parent
_POLL_S = 1.0  # of a retrain


class AppFailed(Exception):
    """A process ended or did not become ready; the message holds the end of its output."""


class RetrainFailed(Exception):
    """The trainer ended without leaving a run; the message holds the end of its output."""


class AppProcess:
    """`python app.py`, or another program with its options, on a free port; it ends with the context."""

    def __init__(self, data_dir: Path, *options: str, program: Sequence[str] = ("app.py",)):
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = data_dir / f"{program[-1]}.log"
        data_dir.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program, "--data-dir", str(data_dir), "--port", str(self.port), *options],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def wait_for_page(self, timeout_s: float = 300.0) -> float:
        """Seconds until the page answered; raises AppFailed."""
        return self._wait(lambda: answers(self.url), timeout_s, "page")

    def wait_for_model(self, timeout_s: float = 300.0) -> float:
        """Seconds until vLLM answered; raises AppFailed."""
        return self._wait(lambda: is_healthy(self.address().urls[0]), timeout_s, "model server")

    def address(self) -> ServerAddress:
        return ServerAddress.read(self.data_dir)

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 120.0) -> int:
        """Send a signal and wait; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def __enter__(self) -> AppProcess:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # who ends a benchmark ends its app too
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait(self, ready: Callable[[], bool], timeout_s: float, what: str) -> float:
        started = time.monotonic()
        while time.monotonic() - started < timeout_s:
            if self.process.poll() is not None:
                raise AppFailed(
                    f"The app ended with status {self.process.returncode}:\n{self.output()[-2000:]}"
                )
            try:
                if ready():
                    return time.monotonic() - started
            except NoServer:
                pass  # it writes the address once the model is there
            time.sleep(0.2)
        raise AppFailed(f"The {what} did not answer within {timeout_s:.0f} s:\n{self.output()[-2000:]}")


class FakeServer:
    """`tests/fake_vllm.py` as a process; it listens within its context, and again after `kill` and `start`.

    It says who answers, or `words` words; a word every `pace_s`. `within` are words before its command, such as those
    that run it in a network namespace, where it has the address `host`.
    """

    def __init__(
        self, words: int = 0, pace_s: float = 0.01, host: str = "127.0.0.1", within: Sequence[str] = ()
    ) -> None:
        self.port = free_port()
        self.url = f"http://{host}:{self.port}"
        self._command = [*within, sys.executable, "-m", "tests.fake_vllm", str(self.port)]
        self._command += [str(words), str(pace_s), host]

    def start(self) -> float:
        """Seconds until it answered; raises AppFailed."""
        began = time.monotonic()
        self._process = subprocess.Popen(self._command, cwd=ROOT)
        while not is_healthy(self.url):
            if time.monotonic() - began > 60.0 or self._process.poll() is not None:
                raise AppFailed(f"The fake server did not answer at {self.url} within 60 s.")
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


def run_trainer(
    store: Store,
    data_dir: Path,
    assistant_id: str,
    words: Sequence[str],
    on_progress: Callable[[str], None],
) -> TrainingRun:
    """The run of `python -m trainer` with these words; `on_progress` gets its events. Raises RetrainFailed.

    In a process of its own, so that its memory is given back.
    """
    before = newest_run(store, assistant_id)
    log = data_dir / "logs" / "trainer.log"
    log.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "trainer", *words, "--data-dir", str(data_dir)]
    command += ["--assistant", assistant_id]
    with log.open("ab") as output:
        # A session of its own: Ctrl-C reaches it once, from here, as a request to end.
        child = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            seen = 0
            while child.poll() is None:
                time.sleep(_POLL_S)
                run = newest_run(store, assistant_id)
                events = store.runs.events(run.id)[seen:] if run and run != before else []
                seen += len(events)
                for event in events[-1:]:
                    data = ", ".join(f"{name} {value}" for name, value in event.data.items())
                    on_progress(f"{event.phase}: {data}")
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
    store.runs.interrupt_running(f"The training process ended with status {child.returncode} (see {log}).")
    run = newest_run(store, assistant_id)
    if run is None or run == before:
        raise RetrainFailed(
            f"The trainer ended with status {child.returncode} before it began:\n"
            f"{log.read_text(errors='replace')[-2000:]}"
        )
    return run


def newest_run(store: Store, assistant_id: str) -> TrainingRun | None:
    return next(iter(store.runs.all(assistant_id, 1)), None)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answers(url: str, path: str = "/") -> bool:
    try:
        with blocking_client(url, timeout_s=2.0) as client:
            return client.get(path).status_code == 200
    except httpx.HTTPError:
        return False
