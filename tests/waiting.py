"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable


def wait_for(what: Callable[[], object], seconds: float = 20.0, every_s: float = 0.02) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(every_s)
    return bool(what())
