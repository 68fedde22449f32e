"""A request's body, within bounds of size and time, or the status that refuses it.

In: ASGI's `receive`. Out: bytes; TooLarge, TooSlow or BrokenOff. Does not know what the body means.
"""

from __future__ import annotations

import asyncio

from starlette.types import Receive

_LONGEST_S = 30.0
_DRAINED = 4  # times as much as is allowed


class BadBody(Exception):
    """The body cannot be used; the message is for the person, `status` for the browser."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read(receive: Receive, most: int) -> bytes:
    """All of it. Raises BadBody for more than `most` bytes, and for one that takes longer than 30 s to arrive."""
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(_LONGEST_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise BadBody(400, "The request broke off.")
                piece, more = message.get("body", b""), message.get("more_body", False)
                size += len(piece)
                if size <= most:
                    body += piece
                # Read on for a while: a browser that is still sending would not see why it was refused.
                if size > most and (size > _DRAINED * most or not more):
                    raise BadBody(413, f"The request is larger than {most:,} bytes. Shorten the text.")
                if not more:
                    return bytes(body)
    except TimeoutError as error:
        raise BadBody(408, "The request took too long to arrive.") from error
