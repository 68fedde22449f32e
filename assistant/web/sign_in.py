"""A name and a password → a session, and a request's cookie → the person.

In: requests to the sign-in page, and cookies. Out: the page, a cookie, a person's name. Place in the flow: the door
asks it about every request. Failed tries are counted by name and by address, and slow down. Does not know roles.
"""

from __future__ import annotations

import asyncio
import time
from urllib.parse import parse_qs

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from assistant.web import request_body
from assistant.web.access import Access
from assistant.web.sign_in_page import sign_in_page
from store import Store
from store.audit import Deed, Outcome
from store.errors import NotFound, StoreError
from store.sessions import LASTS_S
from store.users import LOCAL, User

SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"

# Failed tries: of one name from one address, of one address, of one name from everywhere. The last is loose, or anybody
# could keep a person out.
_LIMITS: tuple[tuple[str, RateLimitItem], ...] = (
    ("both", parse("10/15 minutes")),
    ("address", parse("40/15 minutes")),
    ("name", parse("200/hour")),
)
_FORM_BYTES = 16 << 10
_HASHING = 2  # passwords that are checked at once: 64 MiB each
_WAITING = 20
_WRONG = "That name and password do not belong together. Both are case-sensitive."
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)


class SignIn:
    """An ASGI app for the two routes, and `person` for all others."""

    def __init__(self, store: Store, access: Access) -> None:
        self._store = store
        self._access = access
        self._failures = MovingWindowRateLimiter(MemoryStorage())
        self._hashing = asyncio.Semaphore(_HASHING)
        self._waiting = 0

    async def person(self, scope: Scope) -> str | None:
        """Who asks; None where somebody has to sign in first. Raises StoreError."""
        token = _token(scope)
        return await asyncio.to_thread(self._person, token)

    def _person(self, token: str) -> str | None:
        if not self._access.sign_in_required():
            return LOCAL
        user = self._store.session_user(token) if token else None
        return user.name if user else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._response(scope, receive)
        response.headers["cache-control"] = "no-store"
        response.headers["content-security-policy"] = _POLICY
        await response(scope, receive, send)

    async def _response(self, scope: Scope, receive: Receive) -> Response:
        try:
            if not await asyncio.to_thread(self._access.sign_in_required):
                return RedirectResponse(".", 303)
            if scope["path"] == SIGN_OUT:
                return await self._sign_out(scope)
            if scope["method"] != "POST":
                users = await asyncio.to_thread(self._store.has_users)
                return HTMLResponse(sign_in_page(wrong="" if users else _NOBODY))
            form = parse_qs(
                (await request_body.read(receive, _FORM_BYTES)).decode(errors="replace"), max_num_fields=10
            )
            name, password = (form.get(field, [""])[0] for field in ("name", "password"))
            return await self._try(scope, name.strip()[:64], password)
        except request_body.BadBody as error:
            return HTMLResponse(sign_in_page(wrong=str(error)), error.status)
        except ValueError:
            return HTMLResponse(sign_in_page(wrong="That was no form of this page."), 400)
        except StoreError as error:
            return HTMLResponse(sign_in_page(wrong=str(error)), 503)

    async def _try(self, scope: Scope, name: str, password: str) -> Response:
        address = (scope.get("client") or ("unknown", 0))[0]
        if wait := self._wait(name, address):
            text = f"Too many failed tries. Wait {max(1, round(wait / 60))} min, then try again."
            return HTMLResponse(sign_in_page(name, text), 429)
        if self._waiting >= _WAITING:
            return HTMLResponse(sign_in_page(name, "Too many people sign in just now. Try again."), 503)
        # Counted before it is checked: tries that run at once must not all find room.
        self._count(name, address, "both")
        self._waiting += 1
        try:
            async with self._hashing:
                user = await asyncio.to_thread(self._store.check_password, name, password)
        finally:
            self._waiting -= 1
        if user is None:
            self._count(name, address, "address", "name")
            await asyncio.to_thread(self._note_failure, name, address)
            return HTMLResponse(sign_in_page(name, _WRONG), 401)
        return await self._begin(scope, user, address)

    async def _begin(self, scope: Scope, user: User, address: str) -> Response:
        item, key = self._keys(user.name, address)[0]
        self._failures.clear(item, *key)  # what counts are failures
        token = await asyncio.to_thread(self._store.begin_session, user.name, address)
        if old := _token(scope):
            await asyncio.to_thread(self._store.end_session, old)
        response = RedirectResponse(".", 303)
        response.set_cookie(_cookie(scope), token, max_age=int(LASTS_S), **_attributes(scope))  # type: ignore[arg-type]
        return response

    async def _sign_out(self, scope: Scope) -> Response:
        if scope["method"] != "POST":  # a link on another site must not sign anybody out
            return RedirectResponse(".", 303)
        await asyncio.to_thread(self._store.end_session, _token(scope))
        response = RedirectResponse("sign-in", 303)
        response.delete_cookie(_cookie(scope), **_attributes(scope))  # type: ignore[arg-type]
        return response

    def _note_failure(self, name: str, address: str) -> None:
        try:
            known = self._store.user(name).name
        except NotFound:
            known = "an unknown name"  # what was typed may be a password in the wrong box
        told = {"address": address}
        self._store.note(Deed.SIGN_IN_FAILED, known, told, outcome=Outcome.REFUSED, actor="nobody")

    def _keys(self, name: str, address: str) -> list[tuple[RateLimitItem, tuple[str, ...]]]:
        keys = {"both": (name, address), "address": (address,), "name": (name,)}
        return [(item, (kind, *keys[kind])) for kind, item in _LIMITS]

    def _wait(self, name: str, address: str) -> float:
        """Seconds until another try is looked at; 0 for now."""
        full = [
            self._failures.get_window_stats(item, *key).reset_time - time.time()
            for item, key in self._keys(name, address)
            if not self._failures.test(item, *key)
        ]
        return max(full, default=0.0)

    def _count(self, name: str, address: str, *kinds: str) -> None:
        for item, key in self._keys(name, address):
            if key[0] in kinds:
                self._failures.hit(item, *key)


_NOBODY = "Nobody can sign in yet. On the machine of the app: python -m store user add NAME --role admin"


def _attributes(scope: Scope) -> dict[str, object]:
    return {"path": "/", "httponly": True, "samesite": "lax", "secure": scope["scheme"] == "https"}


def _cookie(scope: Scope) -> str:
    """By port: browsers send one machine's cookies to all of its ports. `__Host-`: no other host can set it."""
    port = (scope.get("server") or ("", 0))[1]
    return f"{'__Host-' if scope['scheme'] == 'https' else ''}shorthand-{port}"


def _token(scope: Scope) -> str:
    return Request(scope).cookies.get(_cookie(scope), "")
