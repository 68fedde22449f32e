"""Decides who asks through the API, what that key may do, and how often."""

import base64
import binascii
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.authentication import SimpleUser
from starlette.requests import Request

from assistant.api.errors import ApiError
from assistant.incoming import READ, MinuteWindow, place, refuse_other_sites
from store import Store
from store.api_clients import Scope

_AT_ONCE = 256  # requests of one key
_NO_KEY = (
    "This needs a key: Authorization: Bearer sh-... An admin makes one: python -m store key add NAME, or on the "
    "People page."
)


@dataclass(frozen=True)
class Caller:
    """Who asks. `name` owns the conversations that are asked; each user whom an app names has a name below it. A key of
    a person asks as that person alone.
    """

    name: str
    is_person: bool = False

    def of_user(self, user: str | None) -> str:
        """The owner and rater of what a user of the app asks and rates."""
        return f"{self.name}/{user[:200]}" if user and not self.is_person else self.name

    def owns(self, owner: str) -> bool:
        return owner == self.name or owner.startswith(f"{self.name}/")


class Admission:
    """For one running API. Without users, who have to sign in, nobody needs a key."""

    def __init__(self, store: Store, key_required: Callable[[], bool]):
        self._store, self._key_required = store, key_required
        self._under_way: Counter[str] = Counter()
        self._window = MinuteWindow()

    @asynccontextmanager
    async def admitted(self, request: Request, scope: Scope) -> AsyncIterator[Caller]:
        """Who asks, around the request. Raises ApiError or HTTPException for anybody who may not, or not now."""
        # In the event loop: a thread would take four times as long, and reading never waits for who writes.
        caller = self._caller(request, scope)
        with place(
            self._under_way, caller.name, _AT_ONCE, ApiError(429, "Too many requests at once.", retry_s=1)
        ):
            request.scope["user"] = SimpleUser(caller.name)  # for the log of requests
            yield caller

    def _caller(self, request: Request, scope: Scope) -> Caller:
        text = _key(request.headers.get("authorization", ""))
        if not self._key_required():
            refuse_other_sites(request, True, (*READ, "POST", "DELETE"))
            return Caller("api")
        key = self._store.api_keys.of(text) if text else None
        if key is None:
            raise ApiError(
                401, "The key is unknown, or was revoked." if text else _NO_KEY, code="invalid_api_key"
            )
        if scope not in key.scopes:
            may = ", ".join(key.scopes) or "nothing"
            raise ApiError(403, f"The key {key.name!r} may do {may}; this needs {scope}.")
        if wait := self._window.wait_s(key.per_minute, key.name):
            text = f"The key {key.name!r} may send {key.per_minute:,} requests a minute."
            raise ApiError(429, text, code="rate_limit_exceeded", retry_s=wait)
        return Caller(key.user, True) if key.user else Caller(f"api:{key.name}")


def _key(header: str) -> str:
    """The key in the header: a bearer's, or the password of a client that sends name and password."""
    kind, _, value = header.partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""
