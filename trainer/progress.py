"""Records the progress of a run as events in the store, not more often than a page can show them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from store import Store

_EVERY_S = 0.5


class RunProgress:
    """Events of one run; `seconds` is how long each timed phase took."""

    def __init__(self, store: Store, run_id: int):
        self._store = store
        self._run_id = run_id
        self._last = 0.0
        self.seconds: dict[str, float] = {}

    def record(self, phase: str, **data: Any) -> None:
        """Write an event now."""
        self._last = time.monotonic()
        self._store.runs.add_event(self._run_id, phase, data)

    def update(self, phase: str, **data: Any) -> None:
        """Write an event unless one was written in the last half second: for counters."""
        if time.monotonic() - self._last >= _EVERY_S:
            self.record(phase, **data)

    def counter(self, phase: str) -> Callable[[int, int], None]:
        """A function of (done, total) that updates the phase."""
        return lambda done, total: self.update(phase, done=done, total=total)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[phase] = round(time.monotonic() - started, 2)
