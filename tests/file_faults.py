"""The nth file operation of this process to a fault: an error as a full disk gives it, or the end of the process.

In: which operation, what happens there. Out: a context in which it happens, once. Python's audit events name every file
that is opened, made, renamed or removed (PEP 578); fsync has none and is wrapped. What a library writes through a
descriptor of its own, as safetensors does, is one operation: it fails or ends before it begins.
"""

from __future__ import annotations

import errno
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_EVENTS = {
    "open",
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.truncate",
    "os.listdir",
    "os.scandir",
}


class _Hook:
    """A process's audit hooks cannot be taken off, so there is one, which mostly does nothing."""

    def __init__(self) -> None:
        self.within: Path | None = None
        self.seen = 0
        self.at = -1
        self.fault: Callable[[], None] = lambda: None

    def operation(self, path: object) -> None:
        if self.within is None or not isinstance(path, (str, os.PathLike)):
            return
        if Path(path).is_relative_to(self.within):
            self.seen += 1
            if self.seen == self.at:
                within, self.within = self.within, None
                try:
                    self.fault()
                finally:
                    self.within = within


_hook: _Hook | None = None


def _installed() -> _Hook:
    global _hook
    if _hook is None:
        _hook = hook = _Hook()

        def audit(event: str, arguments: tuple[Any, ...]) -> None:
            if event in _EVENTS and arguments:
                hook.operation(arguments[0])

        sys.addaudithook(audit)
        fsync = os.fsync

        def audited(descriptor: int) -> None:
            if hook.within is not None:
                hook.operation(os.readlink(f"/proc/self/fd/{descriptor}"))
            fsync(descriptor)

        os.fsync = audited
    return _hook


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes: whoever writes, in whatever language, gets an error for it.

    The error is EFBIG, where a full disk gives ENOSPC; what libraries make of the one they make of the other.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def no_space() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def end() -> None:
    os._exit(9)  # nothing is flushed or closed, as after kill -9


@contextmanager
def fault_at(number: int, within: Path, fault: Callable[[], None]) -> Iterator[Callable[[], int]]:
    """The `number`th operation below `within`, from 1; 0 for none. Gives what says how many there were."""
    hook = _installed()
    hook.within, hook.seen, hook.at, hook.fault = within, 0, number, fault
    try:
        yield lambda: hook.seen
    finally:
        hook.within = None
