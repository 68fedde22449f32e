"""Writes a JSON line for each request, under an id that the response carries too."""

import json
import logging
import re
import sys
import time
import uuid
from contextvars import ContextVar
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assistant.supervisor import RotatingLog

PROBES = ("/healthz", "/readyz")
_ID = "x-request-id"
_GIVEN = re.compile(r"[A-Za-z0-9._-]{8,64}")  # a proxy's or a client's own, so that both logs can be joined
_PATH_CHARACTERS = 200

request_id: ContextVar[str] = ContextVar("request_id", default="")


class RequestLog:
    """ASGI middleware. Of what people write nothing is logged: no body, and no query.

    What asks whether the app is healthy is left out.
    """

    def __init__(self, app: ASGIApp, target: str) -> None:
        """`target` is a file, or `-` for standard output."""
        self._app = app
        self._log = logging.StreamHandler(sys.stdout) if target == "-" else RotatingLog(Path(target))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            return await self._app(scope, receive, send)
        request = Request(scope)
        given = request.headers.get(_ID, "")
        request_id.set(given if _GIVEN.fullmatch(given) else uuid.uuid4().hex)
        began, at, status, size = time.monotonic(), time.time(), 0, 0

        async def sending(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[_ID] = request_id.get()
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            status = status or 500  # which the server says itself
            raise
        finally:
            seconds = round(time.monotonic() - began, 4)
            self._write(request, at=round(at, 3), status=status, bytes=size, seconds=seconds)

    def _write(self, request: Request, **measured: float) -> None:
        who = request.scope.get("user")
        line = {
            "id": request_id.get(),
            **measured,
            "method": request.method,
            "path": request.scope["path"][:_PATH_CHARACTERS],
            "client": request.client.host if request.client else "",
            "user": who.display_name if who else "",
        }
        self._log.emit(logging.makeLogRecord({"msg": json.dumps(line)}))


def with_request_id(record: logging.LogRecord) -> bool:
    """A filter for other logs: `request` is the id of the request in which something is logged."""
    record.request = f" [{request_id.get()}]" if request_id.get() else ""
    return True
