"""A child process on a leash, restarted with a growing pause when it dies.

In: a command. Out: its state, and its output lines to a log file and a listener. Place in the flow: `app.py`
keeps vLLM and the trainer running with it. Does not know what it runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from assistant.leash import kill_all
from assistant.log_file import LogFile

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
_CALM_S = 120.0  # a process that ran this long starts again with the first pause


class LeashedProcess:
    """Starts `command` again and again until `stop`; `on_line` sees its output, `on_exit` each death."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        on_start: Callable[[], None] = lambda: None,
        on_line: Callable[[str], None] = lambda line: None,
        on_exit: Callable[[int, float], None] = lambda status, pause_s: None,
    ):
        self._command = list(command)
        self._environment = dict(environment)
        self._log = LogFile(log)
        self._on_start, self._on_line, self._on_exit = on_start, on_line, on_exit
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name=f"leash:{log.stem}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end_this_one(self) -> None:
        """Let go of the leash of the process that runs now, if one does; the next one starts after the usual pause."""
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()

    def stop(self) -> None:
        """Let go of the leash and wait until the whole tree has ended."""
        self._stopping.set()
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()
        self._thread.join(timeout=20.0)

    def _run(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._stopping.is_set():
            started = time.monotonic()
            self._on_start()
            status = self._once()
            if self._stopping.is_set():
                return
            pause = FIRST_PAUSE_S if time.monotonic() - started > _CALM_S else pause
            self._on_exit(status, pause)
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _once(self) -> int:
        """Run it to its end; the exit status, or the error number where it could not even be started."""
        self._log.begin()
        try:
            # The leash removes it, and this where the leash was killed.
            with tempfile.TemporaryDirectory(prefix="shorthand-", ignore_cleanup_errors=True) as scratch:
                return self._run_in(scratch)
        except OSError as error:
            self._take(f"It could not be started: {error}\n".encode())
            return error.errno or 1
        finally:
            self._log.close()

    def _run_in(self, scratch: str) -> int:
        process = subprocess.Popen(
            [sys.executable, "-m", "assistant.leash", scratch, *self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,
            cwd=Path(__file__).parent.parent,
        )
        self._process = process
        if self._stopping.is_set() and process.stdin is not None:
            process.stdin.close()
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        status = process.wait()
        # Before the output is read to its end: what the leash left behind would hold the pipe open.
        _end_session(process.pid)
        reader.join()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        return status

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        for line in process.stdout or ():
            self._take(line)

    def _take(self, line: bytes) -> None:
        self._log.write(line)
        self._on_line(line.decode(errors="replace").rstrip())


def _end_session(leader: int) -> None:
    """Kill what a leash that was itself killed left behind: its whole tree shares its session."""
    kill_all([process for process in psutil.process_iter() if _session(process.pid) == leader])


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None
