"""The requests of a swap, and what can go wrong with each: for the fake server of the tests and for a real one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MODELS, LOAD, UNLOAD, ASK = (
    "/v1/models",
    "/v1/load_lora_adapter",
    "/v1/unload_lora_adapter",
    "/v1/completions",
)
# Every request of a swap, in order: the route, and which of its requests.
STEPS = {
    "lists the models": (MODELS, 1),
    "lists them again": (MODELS, 2),
    "loads": (LOAD, 1),
    "compares probabilities": (ASK, 1),
    "asks the base model alone": (ASK, 2),
    "asks it in a batch": (ASK, 4),
    "warms up": (ASK, 7),
    "lists them after the warm-up": (MODELS, 3),
    "lists them to unload": (MODELS, 4),
    "unloads": (UNLOAD, 1),
}
AFTER_THE_FLIP = {"lists them to unload", "unloads"}


class How(StrEnum):
    """What goes wrong with a request."""

    DIES_BEFORE = "dies before the work"
    DIES_AFTER = "dies after the work"
    HANGS = "hangs, and does the work when it goes on"
    FAILS_AFTER = "answers 500 after the work"
    RESTARTED = "is restarted by hand with other adapters"


@dataclass
class Fault:
    """Of the `nth` request to a route from now on, counted from 1."""

    route: str
    nth: int
    how: How

    def is_due(self, path: str) -> bool:
        """Counts a request to `path`; true for the one that goes wrong."""
        self.nth -= path == self.route
        return path == self.route and self.nth == 0
