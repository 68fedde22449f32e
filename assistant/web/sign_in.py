"""Signs people in and out: a name and a password become a session in the store, its cookie becomes the person.

Sessions are kept in the store, not in a signed cookie, so that a new password or a removal ends them at once.
"""

import asyncio
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.authentication import SimpleUser
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from assistant.startup import network
from assistant.web import theme
from assistant.web.access import Access
from assistant.web.markup import render
from store import Store
from store.accounts import SESSION_S
from store.audit import AuditAction, Outcome, acting
from store.errors import NotFound, StoreError

SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"

# Failed tries: of one name from one address, of one address, of one name from everywhere. The last is loose, or anybody
# could keep a person out.
SIGN_IN_LIMITS: dict[str, RateLimitItem] = {
    "both": parse("10/15 minutes"),
    "address": parse("40/15 minutes"),
    "name": parse("200/hour"),
}
_HASHING = 2  # passwords that are checked at once: 64 MiB each
_WAITING = 20
_WRONG = "That name and password do not belong together. Both are case-sensitive."
_NOBODY = "Nobody can sign in yet. On the machine of the app: python -m store user add NAME --role admin"
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
}


class Visitor(SimpleUser):
    """Who sends a request, and the token of the session that says so; without one where nobody signs in."""

    def __init__(self, name: str, token: str) -> None:
        super().__init__(name)
        self.token = token


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


class SignIn:
    """The sign-in page and its two routes."""

    def __init__(self, store: Store, access: Access) -> None:
        self._store = store
        self._access = access
        self._limiter = SignInLimiter()
        self._hashing = asyncio.Semaphore(_HASHING)
        self._waiting = 0

    def routes(self) -> list[BaseRoute]:
        return [Route(path, self.respond, methods=["GET", "POST"]) for path in (SIGN_IN, SIGN_OUT)]

    async def respond(self, request: Request) -> Response:
        try:
            response = await self._response(request)
        except ValueError:
            response = _page("That was no form of this page.", 400)
        except StoreError as error:
            response = _page(str(error), 503)
        response.headers.update(_HEADERS)
        return response

    async def _response(self, request: Request) -> Response:
        if not await asyncio.to_thread(self._access.sign_in_required):
            return RedirectResponse(".", 303)
        if request.scope["path"] == SIGN_OUT:
            return await self._sign_out(request)
        if request.method != "POST":
            users = await asyncio.to_thread(self._store.users.any)
            return _page("" if users else _NOBODY)
        form = parse_qs((await request.body()).decode(errors="replace"), max_num_fields=10)
        name, password = (form.get(field, [""])[0] for field in ("name", "password"))
        return await self._try(request, name.strip()[:64], password)

    async def _try(self, request: Request, name: str, password: str) -> Response:
        address = network(request.client.host) if request.client else "unknown"
        if wait := self._limiter.wait_s(name, address):
            text = f"Too many failed tries. Wait {max(1, round(wait / 60))} min, then try again."
            return _page(text, 429, name)
        if self._waiting >= _WAITING:
            return _page("Too many people sign in just now. Try again.", 503, name)
        # Counted before it is checked: tries that run at once must not all find room.
        self._limiter.count(name, address, "both")
        self._waiting += 1
        try:
            async with self._hashing:
                return await asyncio.to_thread(self._checked, request, name, password, address)
        finally:
            self._waiting -= 1

    def _checked(self, request: Request, name: str, password: str, address: str) -> Response:
        user = self._store.users.check_password(name, password)
        if user is None:
            self._limiter.count(name, address, "address", "name")
            try:
                known = self._store.users.get(name).name
            except NotFound:
                known = "an unknown name"  # what was typed may be a password in the wrong box
            with acting("nobody"):
                detail = {"address": address}
                self._store.audit.record(AuditAction.SIGN_IN_FAILED, known, detail, outcome=Outcome.REFUSED)
            return _page(_WRONG, 401, name)
        self._limiter.forget(user.name, address)
        token = self._store.sessions.begin(user.name, address)
        if old := session_token(request):
            self._store.sessions.end(old)
        response = RedirectResponse(".", 303)
        response.set_cookie(_cookie(request), token, max_age=int(SESSION_S), **_attributes(request))
        return response

    async def _sign_out(self, request: Request) -> Response:
        if request.method != "POST":  # a link on another site must not sign anybody out
            return RedirectResponse(".", 303)
        await asyncio.to_thread(self._store.sessions.end, session_token(request))
        response = RedirectResponse("sign-in", 303)
        response.delete_cookie(_cookie(request), **_attributes(request))
        return response


def _page(wrong: str, status: int = 200, name: str = "") -> Response:
    """`wrong` says why the last try failed; the name stays in its box, the password never does."""
    css = Path(__file__).with_name("sign_in.css").read_text(encoding="utf-8")
    html = render("sign_in.html", wrong=wrong, name=name, css=css, head=theme.HEAD, mark=theme.MARK)
    return HTMLResponse(html, status)


def _attributes(request: HTTPConnection) -> dict[str, Any]:
    return {"path": "/", "httponly": True, "samesite": "lax", "secure": request.scope["scheme"] == "https"}


def _cookie(request: HTTPConnection) -> str:
    """By port: browsers send one machine's cookies to all of its ports. `__Host-`: no other host can set it."""
    port = (request.scope.get("server") or ("", 0))[1]
    prefix = "__Host-" if request.scope["scheme"] == "https" else ""
    return f"{prefix}shorthand-{port}"


def session_token(request: HTTPConnection) -> str:
    return request.cookies.get(_cookie(request), "")
