"""What anybody may ask of our own vLLM process: the routes that Shorthand uses, with the key of this start.

In: `--middleware assistant.vllm_door.VllmDoor` and the key in the environment. Out: every other request refused before
vLLM sees it. Place in the flow: imported by vLLM's API server and by nothing of ours. Knows no model.

vLLM's own `--api-key` guards four prefixes alone: /tokenize, /metrics, /version, /load, /ping, /invocations and others
answer anybody on the machine. What is not listed here does not exist.
"""

from __future__ import annotations

import hashlib
import hmac
import os

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_ROUTES = frozenset(
    {
        ("GET", "/v1/models"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/load_lora_adapter"),
        ("POST", "/v1/unload_lora_adapter"),
    }
)
_HEALTH = ("GET", "/health")  # says nothing but that it is up


class VllmDoor:
    """ASGI middleware; without a key in the environment it lets nobody in."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._key = _digest(os.environ["VLLM_API_KEY"]) if os.environ.get("VLLM_API_KEY") else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        asked = (scope["method"], scope["path"])
        if asked == _HEALTH or (asked in _ROUTES and self._knows(Headers(scope=scope))):
            await self._app(scope, receive, send)
        elif asked in _ROUTES:
            await JSONResponse({"error": "Unauthorized"}, 401)(scope, receive, send)
        else:
            await JSONResponse({"error": "Not Found"}, 404)(scope, receive, send)

    def _knows(self, headers: Headers) -> bool:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        right = self._key is not None and hmac.compare_digest(_digest(key), self._key)
        return scheme.lower() == "bearer" and right


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
