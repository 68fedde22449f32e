"""How often Python looks for garbage in a process that holds much and makes thousands of objects at a time.

In: nothing. Out: the garbage collector's settings. Place in the flow: the first thing that a command of ours does. Does
not know what the process is for.
"""

from __future__ import annotations

import gc

# New objects between two looks at the new ones. With Python's own 700 a choice of 10,000 answers looked 600 times, and
# four times at everything, which took a third of its time. Garbage of so many objects is tens of megabytes at most.
_NEW_OBJECTS = 50_000


def collect_rarely() -> None:
    """What is loaded by now is never looked at again, and new objects are less often. Reference counts, which free
    nearly everything, are not touched.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
