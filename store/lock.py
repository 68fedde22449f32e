"""Locks of a data directory: of several processes one does the work, and the others are told that it is at it."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

TRAINING, WATCH = "trainer", "trainer-watch"
_TRIES = 5  # so that a look at it, which takes it for a moment, refuses nobody
_PAUSE_S = 0.02


class LockTaken(Exception):
    """Another process has it; the message says which."""


class Lock:
    """Held within the context. The kernel gives it back with its process, however that ends."""

    def __init__(self, directory: Path, name: str):
        self._path = directory / f"{name}.lock"

    def __enter__(self) -> Lock:
        self._file = self._path.open("a+")
        for _ in range(_TRIES):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_PAUSE_S)
            else:
                self._file.truncate(0)
                self._file.write(str(os.getpid()))
                self._file.flush()
                return self
        self._file.seek(0)
        process = self._file.read() or "unknown"
        self._file.close()
        raise LockTaken(
            f"Another trainer (process {process}) is at work on this data directory. Wait until it is done, or stop it."
        )

    def __exit__(self, *_: object) -> None:
        self._file.close()


def is_locked(directory: Path, name: str) -> bool:
    """Whether a process has it now."""
    try:
        with (directory / f"{name}.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
