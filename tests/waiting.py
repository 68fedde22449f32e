"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable

PATIENCE_S = 300.0  # what has not happened by then never will, however slow and busy the machine is


def wait_for(what: Callable[[], object], seconds: float = PATIENCE_S, every_s: float = 0.02) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(every_s)
    return bool(what())
