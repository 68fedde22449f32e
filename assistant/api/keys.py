"""The routes of keys: an admin's program makes, lists and revokes them."""

import asyncio
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assistant.api.admission import Admission, Caller
from assistant.api.chat_request import read
from assistant.api.endpoint import Act, Endpoint, listed
from store import Store
from store.api_clients import NAME, PER_MINUTE, USUAL, ApiKey, Scope
from store.audit import acting


class KeyBody(msgspec.Struct, kw_only=True):
    """`POST /v1/keys`."""

    name: Annotated[str, msgspec.Meta(pattern=f"^{NAME}$")]
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1)] = USUAL
    per_minute: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = PER_MINUTE
    user: str | None = None


class Keys:
    """Answers programs that manage keys."""

    def __init__(self, store: Store):
        self._keys = store.api_keys

    def routes(self, admission: Admission) -> list[Route]:
        def route(path: str, act: Act, method: str = "GET") -> Route:
            return Route(path, Endpoint(admission, Scope.ADMIN, act), methods=[method])

        return [
            route("/v1/keys", self.all),
            route("/v1/keys", self.add, "POST"),
            route("/v1/keys/{name}", self.revoke, "DELETE"),
        ]

    async def all(self, caller: Caller, body: bytes, request: Request) -> Response:
        return listed([_shown(one) for one in await asyncio.to_thread(self._keys.all)])

    async def add(self, caller: Caller, body: bytes, request: Request) -> Response:
        asked = read(body, KeyBody)
        with acting(caller.name):
            made, text = await asyncio.to_thread(self._keys.add, **msgspec.structs.asdict(asked))
        return JSONResponse(_shown(made) | {"value": text})  # this once

    async def revoke(self, caller: Caller, body: bytes, request: Request) -> Response:
        with acting(caller.name):
            revoked = await asyncio.to_thread(self._keys.revoke, request.path_params["name"])
        return JSONResponse(_shown(revoked))


def _shown(key: ApiKey) -> dict[str, Any]:
    return {"object": "key", "id": key.name, **vars(key)}
