"""Keeps a command running: starts it again when it dies, writes its output to a log, and ends its whole process tree.

The app does not run the command itself but `python -m assistant.supervisor SCRATCH COMMAND...`, which does, and holds
the other end of that process's standard input. However the app ends, the kernel then closes the pipe; the process ends
everything below it and removes SCRATCH, the command's directory for temporary files and sockets, which it has made.
"""

import ctypes
import logging
import math
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

import psutil

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
_STABLE_S = 120.0  # a process that did well for this long starts again with the first pause
# After so many in a row that did well for less than ten minutes none follows, or a quarter as many that never did:
# what lacks room or a file would be tried for ever, and nobody be told.
_MOST_FAILURES, _WELL_S, _NEVER_WELL = 20, 600.0, 4
_GRACE_S = 10.0  # vLLM needs about 3 s to stop its engine
_TREE_GRACE_S = 3.0
_TRACKER_GRACE_S = 3.0  # it needs some milliseconds
_TRIES = 20
_ROUNDS = 5  # what a process starts while it is being ended is found the next time, before SCRATCH is removed
_LOG_BYTES = 20 << 20
_LINE_BYTES = 64 << 10
_NOT_STARTED = "It could not be started: {}"
# The app comes first: one request in twenty waited 100 to 350 ms in it for a core, since vLLM's workers use all. On two
# cores that brought the first text of 95 in 100 from within 243 ms to within 84, and that of vLLM itself from 85 to 73.
BEHIND_THE_APP = 5
_SESSION = Path("/proc/self/autogroup")
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def scratch_directory() -> Path:
    """A new name for a directory in the machine's temporary folder, short enough for a Unix socket in it."""
    return Path(tempfile.gettempdir()) / f"shorthand-{secrets.token_hex(8)}"


class Supervisor:
    """Runs `command` again and again until `stop`; `on_line` gets its output, `on_exit` each death's status and pause,
    None where it has died too often and is not started again. `well_since` is when a life began to do well: its
    start, unless `on_start` or whoever knows better says otherwise.

    Each life of the command has `scratch`, empty and closed to other users, as its TMPDIR.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        scratch: Path | None = None,
        on_start: Callable[[], None] = lambda: None,
        on_line: Callable[[str], None] = lambda line: None,
        on_exit: Callable[[int, float | None], None] = lambda status, pause_s: None,
        nice: int = BEHIND_THE_APP,
    ):
        self._command, self._environment = list(command), dict(environment)
        self._scratch = scratch or scratch_directory()
        self._log = RotatingLog(log)
        self._on_start, self._on_line, self._on_exit = on_start, on_line, on_exit
        self._nice = nice
        self._stopping = threading.Event()
        self.well_since = math.inf
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name=f"supervisor:{log.stem}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def restart(self) -> None:
        """End the tree that runs now, if one does; the next one starts after the usual pause."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def stop(self) -> None:
        """End the tree and wait until it is gone."""
        self._stopping.set()
        self.restart()
        self._thread.join(timeout=20.0)

    def _run(self) -> None:
        failures = deaths = 0
        while failures < _MOST_FAILURES and not self._stopping.is_set():
            self.well_since = time.monotonic()
            self._on_start()
            status = self._run_once()
            if self._stopping.is_set():
                break
            well_s = time.monotonic() - self.well_since
            deaths = 1 if well_s > _STABLE_S else deaths + 1
            failures = (0 if well_s > _WELL_S else failures) + (1 if well_s > 0 else _NEVER_WELL)
            pause_s = min(FIRST_PAUSE_S * 2 ** (deaths - 1), LONGEST_PAUSE_S)
            self._on_exit(status, pause_s if failures < _MOST_FAILURES else None)
            self._stopping.wait(pause_s)
        self._log.close()

    def _run_once(self) -> int:
        """The exit status, or the error number where the command could not even be started."""
        words = [str(self._scratch), str(self._nice), *self._command]
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "assistant.supervisor", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment | {"TMPDIR": str(self._scratch)},
                start_new_session=True,
                cwd=Path(__file__).parent.parent,
            )
        except OSError as error:
            self._take_line(_NOT_STARTED.format(error))
            return error.errno or 1
        with process:
            self._process = process
            if self._stopping.is_set():
                self.restart()
            reader = threading.Thread(target=self._read, args=(process,), daemon=True)
            reader.start()
            status = process.wait()
            # Where the supervising process was killed, what it left would hold the pipe of the output open.
            end_processes([one for one in psutil.process_iter() if _session(one.pid) == process.pid])
            reader.join()
        shutil.rmtree(self._scratch, ignore_errors=True)
        return status

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        # At most 64 KiB at once: a progress bar, say, ends no line for as long as it runs.
        while process.stdout and (line := process.stdout.readline(_LINE_BYTES)):
            self._take_line(line.decode(errors="replace").rstrip())

    def _take_line(self, line: str) -> None:
        self._log.emit(logging.makeLogRecord({"msg": line}))
        self._on_line(line)


class RotatingLog(RotatingFileHandler):
    """A log for its owner alone, with one older file beside it. Lines that cannot be written are lost.

    A process whose output nobody takes stops at the 65,536th byte, so a full disk must not stop the reading.
    """

    def __init__(self, path: Path):
        super().__init__(path, maxBytes=_LOG_BYTES, backupCount=1, delay=True)

    def _open(self) -> TextIOWrapper:
        path = Path(self.baseFilename)
        path.parent.mkdir(parents=True, exist_ok=True)
        private = partial(os.open, mode=0o600)
        return TextIOWrapper(open(path, "ab", opener=private), encoding="utf-8", errors="replace")

    def handleError(self, record: logging.LogRecord) -> None:
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def end_processes(processes: Sequence[psutil.Process]) -> None:
    """Ask them to end, kill those that do not, and last the one that frees the memory which the others shared.

    That one, Python's resource tracker, ends by itself after the others. Killed with them, it left two segments of
    vLLM's, of up to 240 MiB, in /dev/shm each time.
    """
    trackers = [process for process in processes if _is_tracker(process)]
    others = [process for process in processes if process not in trackers]
    for process in others:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(others, timeout=_TREE_GRACE_S)
    _kill(stubborn)
    _, alive = psutil.wait_procs(trackers, timeout=_TRACKER_GRACE_S)
    _kill(alive)


def _is_tracker(process: psutil.Process) -> bool:
    try:
        return any("multiprocessing.resource_tracker" in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def lower_priority(nice: int, session_nice: int | None) -> None:
    """Let this process, and its session where that is given, stand behind others when both want the cores.

    Outside control groups Linux weighs sessions before the processes in them (`man 7 sched`, autogroup), so niceness
    alone does nothing in a session of its own; within one, as in a container, it counts alone.
    """
    os.nice(nice)
    if session_nice is None:
        return
    for _ in range(_TRIES):
        try:
            _SESSION.write_text(str(session_nice))
        except BlockingIOError:  # it takes one such change in 100 ms, whoever asks for it
            time.sleep(0.1)
            continue
        except OSError:  # no Linux, or one without autogroups
            pass
        return


def main(scratch: str, nice: int, command: Sequence[str]) -> int:
    """Run the command until it ends or standard input closes; returns its exit status, or the error number where it
    could not even be started.
    """
    if nice:
        lower_priority(nice, nice)
    libc = ctypes.CDLL(None)
    # Grandchildren whose own parent dies become children of this process, so that `end_processes` finds them.
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    shutil.rmtree(scratch, ignore_errors=True)  # left by a process like this one that was killed
    try:
        os.mkdir(
            scratch, 0o700
        )  # made by the app, it stayed where the app was killed before this process began
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            # Should this process be killed, the kernel kills the command at once.
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
        )
    except OSError as error:
        print(_NOT_STARTED.format(error))
        shutil.rmtree(scratch, ignore_errors=True)
        return error.errno or 1

    def end_with_parent() -> None:
        while os.read(0, 4096):
            pass
        child.terminate()
        time.sleep(_GRACE_S)
        child.kill()

    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    threading.Thread(target=end_with_parent, daemon=True).start()
    status = child.wait()
    for _ in range(_ROUNDS):
        if not (left := psutil.Process().children(recursive=True)):
            break
        end_processes(left)
    shutil.rmtree(scratch, ignore_errors=True)  # vLLM leaves 8 sockets, even when it is asked to end
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
