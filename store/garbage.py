"""Garbage collector settings for processes that hold many objects and make thousands at a time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# New objects between two collections. With Python's own 700 a choice of 10,000 answers collected 600 times, four times
# everything, which took a third of its time. Garbage of so many objects is tens of megabytes at most.
_NEW_OBJECTS = 50_000


def collect_rarely() -> None:
    """Never look again at what is loaded by now, and less often at new objects. Reference counts stay."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)


@contextmanager
def without_collecting() -> Iterator[None]:
    """Switch collection off for work of a second whose hundreds of thousands of objects all stay until its end.

    It took a fifth of the time of choosing a training set and found nothing. The first of two threads to leave ends it
    for both.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
