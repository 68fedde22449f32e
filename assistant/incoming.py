"""What pages and API ask of every request: its size, its time, how many at once, and where it comes from."""

import asyncio
import math
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from assistant.startup import is_loopback
from store.accounts import LOCAL

READ = ("GET", "HEAD")
_ARRIVES_WITHIN_S = 30.0
_OTHER_NAME = (
    "Without users this page answers under http://127.0.0.1 and http://localhost alone. To reach it under another "
    "name, add users: python -m store user add NAME --role admin"
)


@contextmanager
def place(under_way: Counter[str], name: str, most: int, refusal: Exception) -> Iterator[None]:
    """Room for one more of what this person has under way, so that nobody takes the places of all."""
    if name != LOCAL and under_way[name] >= most:
        raise refusal
    under_way[name] += 1
    try:
        yield
    finally:
        under_way[name] -= 1
        if not under_way[name]:
            del under_way[name]


class MinuteWindow:
    """Counts what happens in any minute, in memory: a restart forgets. Safe to use from any thread."""

    def __init__(self) -> None:
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def wait_s(self, most: int, *key: str) -> int:
        """Count one more under this key; where that is more than `most`, count nothing and return how long to wait."""
        limit = RateLimitItemPerMinute(most)
        if self._window.hit(limit, *key):
            return 0
        return max(1, math.ceil(self._window.get_window_stats(limit, *key).reset_time - time.time()))


def refuse_other_sites(request: Request, is_local: bool, methods: Sequence[str] = (*READ, "POST")) -> None:
    """No other site's script or form may act for whoever is signed in here; a link may lead to a page.

    `is_local`: nobody has to sign in, or to name a key. Raises HTTPException.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:  # a script cannot make this up, and a proxy that changes the host leaves it as it is
        link = request.method in READ and request.headers.get("sec-fetch-mode") == "navigate"
        from_here = site in ("same-origin", "none") or link
    else:
        from_here = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if request.method not in methods or not from_here:
        text = "This request comes from another site, or is of a kind that nothing here uses."
        raise HTTPException(403, text)
    # Where nobody signs in, a site whose name was made to lead here (DNS rebinding) would be of the same origin.
    host = re.sub(r":\d*$", "", request.headers.get("host", "")).strip("[]").lower()
    if is_local and not is_loopback(host):
        raise HTTPException(403, _OTHER_NAME)


def replayed(body: bytes, receive: Receive) -> Receive:
    """For whoever reads a request whose body was read already."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def once() -> Message:
        return waiting.pop() if waiting else await receive()

    return once


async def read_body(request: Request, most: int) -> bytes:
    """All of it. Raises HTTPException for more than `most` bytes, and for one that takes longer than 30 s."""
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(_ARRIVES_WITHIN_S):
            async for piece in request.stream():
                size += len(piece)
                body += piece if size <= most else b""
                # Read on for a while: a browser that is still sending would not see why it was refused.
                if size > 4 * most:
                    break
    except ClientDisconnect as error:
        raise HTTPException(400, "The request broke off.") from error
    except TimeoutError as error:
        raise HTTPException(408, "The request took too long to arrive.") from error
    if size > most:
        raise HTTPException(413, f"The request is larger than {most:,} bytes. Shorten the text.")
    return bytes(body)
