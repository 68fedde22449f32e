"""Short questions for streams that only have to be answered the same way every time.

In: how many. Out: distinct texts, always the same. Pure. Place in the flow: under `references`. Does not know what is
right.
"""

from __future__ import annotations

from itertools import islice, product

_SHAPES = (
    "Name two kinds of {}.",
    "What do people use {} for?",
    "Write one sentence about {}.",
    "Where does one find {}?",
    "Who works with {}?",
    "What is the opposite of {}?",
)
_THINGS = (
    *("fruit", "bread", "rivers", "birds", "shoes", "paper", "glass", "salt", "music", "trains", "gardens"),
    *("winter", "letters", "stones", "boats", "clocks", "wool", "bridges", "maps", "soup", "lamps", "horses"),
    *("windows", "coins", "trees", "rain", "doors", "knives", "honey", "roads"),
)


def questions(count: int) -> list[str]:
    """At most 180; raises ValueError."""
    found = [shape.format(thing) for thing, shape in islice(product(_THINGS, _SHAPES), count)]
    if len(found) < count:
        raise ValueError(f"There are {len(found)} questions, not {count}.")
    return found
