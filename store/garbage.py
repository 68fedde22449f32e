"""Garbage collector settings for processes that hold many objects and make thousands at a time."""

import gc

# New objects between two collections. With Python's own 700 a choice of 10,000 answers collected 600 times, four times
# everything, which took a third of its time. Garbage of so many objects is tens of megabytes at most.
_NEW_OBJECTS = 50_000


def collect_rarely() -> None:
    """Never look again at what is loaded by now, and less often at new objects. Reference counts stay."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
