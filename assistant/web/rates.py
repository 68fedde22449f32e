"""Limits how much one person may do in a minute, and how often somebody may try to sign in.

Counts are kept in memory: a restart forgets them.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Literal

from limits import RateLimitItem, RateLimitItemPerMinute, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from assistant.web.access import Person, Refused

# Failed tries: of one name from one address, of one address, of one name from everywhere. The last is loose, or anybody
# could keep a person out.
SIGN_IN_LIMITS: dict[str, RateLimitItem] = {
    "both": parse("10/15 minutes"),
    "address": parse("40/15 minutes"),
    "name": parse("200/hour"),
}


@dataclass(frozen=True)
class Rates:
    """Of each person who is signed in: messages and ratings in any minute, and answers that are written at once."""

    messages: int = 20
    ratings: int = 60
    streams: int = 4


class RateLimiter:
    """Counts for everybody. Safe to use from any thread."""

    def __init__(self, rates: Rates):
        self.rates = rates
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def count(self, what: Literal["messages", "ratings"], person: Person) -> None:
        """One more. Raises Refused for more than a minute allows somebody who is signed in."""
        most: int = getattr(self.rates, what)
        limit, key = RateLimitItemPerMinute(most), (what, person.name)
        if not person.signed_in or self._window.hit(limit, *key):
            return
        wait = max(1, math.ceil(self._window.get_window_stats(limit, *key).reset_time - time.time()))
        raise Refused(f"At most {most} {what} a minute: wait {wait} s. What you typed stays here until then.")


class SignInLimiter:
    """Counts failed tries by name and by address."""

    def __init__(self) -> None:
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def wait_s(self, name: str, address: str) -> float:
        """Seconds until another try is allowed; 0 for now."""
        full = [
            self._window.get_window_stats(SIGN_IN_LIMITS[kind], *key).reset_time - time.time()
            for kind, key in _keys(name, address).items()
            if not self._window.test(SIGN_IN_LIMITS[kind], *key)
        ]
        return max(full, default=0.0)

    def count(self, name: str, address: str, *kinds: str) -> None:
        for kind in kinds:
            self._window.hit(SIGN_IN_LIMITS[kind], *_keys(name, address)[kind])

    def forget(self, name: str, address: str) -> None:
        """Only failures count: this try was right."""
        self._window.clear(SIGN_IN_LIMITS["both"], *_keys(name, address)["both"])


def _keys(name: str, address: str) -> dict[str, tuple[str, ...]]:
    return {"both": ("both", name, address), "address": ("address", address), "name": ("name", name)}
