"""A route: who may call it, how large a request may be, and what becomes of it when something goes wrong."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from assistant.api.admission import Admission, Caller
from assistant.api.errors import as_api_error
from assistant.incoming import read_body
from store.api_clients import Scope as KeyScope

BODY_BYTES = 4 << 20
Act = Callable[[Caller, bytes, Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True)
class Endpoint:
    """An ASGI app, so that a stream counts as under way until its end."""

    admission: Admission
    scope: KeyScope
    act: Act
    most_bytes: int = BODY_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            async with self.admission.admitted(request, self.scope) as caller:
                body = await read_body(request, self.most_bytes) if request.method == "POST" else b""
                await _unless_gone(request, self._respond(caller, body, request, send))
        except Exception as error:
            await as_api_error(error).response()(scope, receive, send)

    async def _respond(self, caller: Caller, body: bytes, request: Request, send: Send) -> None:
        response = await self.act(caller, body, request)
        await response(request.scope, request.receive, send)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, unless the client goes away first: then it ends, and what there is of an answer is stored.

    In a task of its own, which is cancelled once: within starlette's own scope nothing could be stored any more.
    """
    answering, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            answering.result()
    finally:
        gone.cancel()
        answering.cancel()
        await asyncio.gather(answering, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def listed(data: list[dict[str, Any]], more: bool = False) -> Response:
    """A page of a list, as OpenAI's clients go through it."""
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
    return JSONResponse({"object": "list", "data": data, "has_more": more, **ends})
