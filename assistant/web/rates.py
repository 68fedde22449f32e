"""How much one person may do in a minute, and at once.

In: a name, each time that somebody asks or rates. Out: nothing, or TooMany with how long to wait. Counts are kept in
memory: a restart forgets them. Does not apply to the one person of a product without users.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter


class TooMany(Exception):
    """It was not done; the message says when it can be."""


@dataclass(frozen=True)
class Rates:
    """Of each person: messages and ratings in any minute, and answers that are written at once."""

    messages: int = 20
    ratings: int = 60
    streams: int = 4


class Limiter:
    """Counts for everybody. Safe to use from any thread."""

    def __init__(self, rates: Rates):
        self.rates = rates
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def message(self, name: str) -> None:
        """Raises TooMany."""
        self._count("messages", name, self.rates.messages)

    def rating(self, name: str) -> None:
        """Raises TooMany."""
        self._count("ratings", name, self.rates.ratings)

    def _count(self, what: str, name: str, most: int) -> None:
        item: RateLimitItem = RateLimitItemPerMinute(most)
        if self._window.hit(item, what, name):
            return
        wait = max(1, math.ceil(self._window.get_window_stats(item, what, name).reset_time - time.time()))
        raise TooMany(f"At most {most} {what} a minute: wait {wait} s. What you typed stays here until then.")
