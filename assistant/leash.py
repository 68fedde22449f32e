"""Runs a command and takes it down, with everything it started, when the parent goes away.

In: `python -m assistant.leash SCRATCH COMMAND...` with a pipe as standard input. Out: the command's exit status. The
parent keeps the pipe's other end open: when it exits, is killed or crashes, the kernel closes the pipe and the
leash ends the whole process tree, so that no vLLM and no trainer outlives the app. What the tree leaves behind goes
with it: SCRATCH is its directory for temporary files. Knows nothing about what it runs.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

import psutil

GRACE_S = 10.0  # vLLM needs about 3 s to stop its engine
_SWEEP_S = 3.0
_TRACKER_S = 3.0  # it needs some milliseconds
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main(scratch: str, command: list[str]) -> int:
    libc = ctypes.CDLL(None)
    # Grandchildren whose own parent dies become ours, so that the final sweep finds them.
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # Should the leash itself be killed, the kernel kills the command at once.
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": scratch},
        preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
    )
    released = threading.Event()

    def wait_for_parent() -> None:
        while os.read(0, 4096):
            pass
        released.set()
        child.terminate()

    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the app, which closes the pipe
    threading.Thread(target=wait_for_parent, daemon=True).start()
    while child.poll() is None:
        try:
            child.wait(timeout=GRACE_S if released.is_set() else 1.0)
        except subprocess.TimeoutExpired:
            if released.is_set():
                break
    _sweep()
    shutil.rmtree(scratch, ignore_errors=True)  # vLLM leaves 8 sockets, even when it is asked to end
    return child.wait()


def _sweep() -> None:
    """End everything below this process: politely first, then not."""
    processes = psutil.Process().children(recursive=True)
    asked = [process for process in processes if not _is_tracker(process)]
    for process in asked:
        _quietly(process.terminate)
    psutil.wait_procs(asked, timeout=_SWEEP_S)
    kill_all(processes)


def kill_all(processes: Sequence[psutil.Process]) -> None:
    """Kill them, and last the one that frees the memory which the others shared: Python's resource tracker.

    It ends by itself when the last of them has. Killed with them, it left two segments of vLLM's, of up to 240 MiB,
    in /dev/shm each time.
    """
    trackers = [process for process in processes if _is_tracker(process)]
    for process in set(processes).difference(trackers):
        _quietly(process.kill)
    _, alive = psutil.wait_procs(trackers, timeout=_TRACKER_S)
    for process in alive:
        _quietly(process.kill)


def _is_tracker(process: psutil.Process) -> bool:
    try:
        return any("multiprocessing.resource_tracker" in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False


def _quietly(act: Callable[[], None]) -> None:
    try:
        act()
    except psutil.NoSuchProcess:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
