"""What a browser may ask of the app: the routes that the pages use, from this site, by somebody who is signed in.

In: HTTP requests. Out: the same requests for Gradio, with the person's name in the scope, or a refusal. Place in the
flow: in front of all of Gradio's routes, of which there are about seventy and of which some ask for nobody's name; what
is not listed here does not exist. Does not know pages or roles (see `access`).

A tab's `session_hash`, under which Gradio keeps its state and its stream of events, is made up by the browser. Here it
is mixed with the person's name, so that whoever learns another's hash has a session of their own under it.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections import Counter
from typing import Final
from urllib.parse import urlencode, urlsplit

import gradio as gr
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assistant.preflight import is_loopback
from assistant.web import request_body
from assistant.web.access import SIGNED_OUT, Access
from assistant.web.sign_in import SIGN_IN, SIGN_OUT, SignIn
from store.errors import StoreError
from store.users import LOCAL

PERSON: Final = "shorthand.person"  # where the name is in the scope
# A prompt of 200,000 characters as JSON fits.
_BODY_BYTES = 4 << 20
_AT_ONCE = 100  # requests of one person; a tab keeps two open
_OTHER_NAME = (
    "Without users this page answers under http://127.0.0.1 and http://localhost alone. To reach it under another "
    "name, add users: python -m store user add NAME --role admin"
)
_READ = ("GET", "HEAD")
_STATIC = re.compile(r"/(assets|static|svelte)/[A-Za-z0-9._/+-]+")
_OTHERS = {"/": _READ, "/config": _READ, "/theme.css": _READ, "/gradio_api/theme.css": _READ}
_STREAM = "/gradio_api/queue/data"
_CALLS = ("/gradio_api/queue/join", "/gradio_api/run/predict")
_STARTED = "/gradio_api/startup-events"
_HEARTBEAT = re.compile(r"/gradio_api/heartbeat/([A-Za-z0-9]{1,64})")
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "same-origin",
}


class Door:
    """ASGI middleware around Gradio's app."""

    def __init__(self, app: ASGIApp, access: Access, sign_in: SignIn, page: gr.Blocks) -> None:
        self._app = app
        self._page = page
        self._access = access
        self._sign_in = sign_in
        self._salt = secrets.token_bytes(16)
        self._open: Counter[str] = Counter()  # requests under way, by person

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # Gradio has no websocket
            await send({"type": "websocket.close", "code": 1008})
            return
        send = _with_headers(send)
        if scope["method"] not in ("GET", "HEAD", "POST") or not _from_here(
            scope["method"], Headers(scope=scope)
        ):
            await _said(403, "This request comes from another site, or is of a kind that nothing here uses.")(
                scope, receive, send
            )
            return
        try:
            name = await self._sign_in.person(scope)
        except StoreError as error:
            await _said(503, str(error))(scope, receive, send)
            return
        if name == LOCAL and not _means_this_machine(Headers(scope=scope).get("host", "")):
            await _said(403, _OTHER_NAME)(scope, receive, send)
        elif scope["path"] in (SIGN_IN, SIGN_OUT):
            await self._sign_in(scope, receive, send)
        elif scope["path"] == _STARTED:  # Gradio asks itself, once, and it tells nobody anything
            await self._app(scope, receive, send)
        elif name is None:
            await self._stranger(scope)(scope, receive, send)
        else:
            await self._enter(scope, receive, send, name)

    def _stranger(self, scope: Scope) -> Response:
        if scope["path"] == "/" and scope["method"] in _READ:
            return RedirectResponse(SIGN_IN.lstrip("/"), 303)
        return _said(401, SIGNED_OUT)

    async def _enter(self, scope: Scope, receive: Receive, send: Send, name: str) -> None:
        if name != LOCAL and self._open[name] >= _AT_ONCE:
            await _said(429, "Too many requests at once. Close some tabs.")(scope, receive, send)
            return
        self._open[name] += 1
        try:
            passed = await self._passed(scope, receive, name)
            if isinstance(passed, Response):
                await passed(scope, receive, send)
            else:
                scope, receive = passed
                await self._app({**scope, PERSON: name}, receive, send)
        finally:
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]

    async def _passed(self, scope: Scope, receive: Receive, name: str) -> tuple[Scope, Receive] | Response:
        """The request as Gradio gets it, or why it does not."""
        path, method = scope["path"], scope["method"]
        if method in _READ:
            if method in _OTHERS.get(path, ()):
                return {**scope, "query_string": b""}, receive
            if _STATIC.fullmatch(path) and ".." not in path:
                return scope, receive
            if path == _STREAM:
                session = self._session(name, QueryParams(scope["query_string"]).get("session_hash", ""))
                if (
                    session not in self._page._queue.pending_messages_per_session
                ):  # Gradio would fail half way
                    return _said(404, "Nothing is on its way in this session.")
                query = urlencode({"session_hash": session})
                return {**scope, "query_string": query.encode()}, receive
            if found := _HEARTBEAT.fullmatch(path):
                path = path[: found.start(1)] + self._session(name, found[1])
                return {**scope, "path": path, "raw_path": path.encode(), "query_string": b""}, receive
        elif path in _CALLS:
            return await self._call(scope, receive, name)
        return _said(404, "There is nothing here.")

    async def _call(self, scope: Scope, receive: Receive, name: str) -> tuple[Scope, Receive] | Response:
        try:
            body = await request_body.read(receive, _BODY_BYTES)
            # The parser that Gradio's framework uses, so that both read the same.
            call = json.loads(body)
        except request_body.BadBody as error:
            return _said(error.status, str(error))
        except (ValueError, RecursionError):
            return _said(400, "The request is no JSON.")
        if not isinstance(call, dict) or not isinstance(call.get("session_hash"), str):
            return _said(400, "The request names no session.")
        if type(call.get("fn_index")) is not int or call["fn_index"] not in self._page.fns:
            return _said(
                400, "The request names no event of the pages. Reload the page: it may be of another version."
            )
        # What Gradio's pages send; nothing else reaches it.
        kept = {key: call[key] for key in ("data", "fn_index", "trigger_id", "event_data") if key in call}
        kept["session_hash"] = self._session(name, call["session_hash"])
        body = _whole_characters(json.dumps(kept, ensure_ascii=False)).encode()
        headers = MutableHeaders(scope=dict(scope))
        headers["content-length"], headers["content-type"] = str(len(body)), "application/json"
        return {**scope, "headers": headers.raw, "query_string": b""}, _replayed(body, receive)

    def _session(self, name: str, given: str) -> str:
        mixed = b"\0".join((self._salt, name.encode(), given.encode(errors="replace")))
        return hashlib.sha256(mixed).hexdigest()[:32]


def _whole_characters(text: str) -> str:
    """Halves of characters, which JSON can name and UTF-8 cannot hold, as a browser sends them from a form: U+FFFD.

    What Gradio sends back with one in it ended the stream of the page's events.
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def name_of(request: Request) -> str | None:
    """For Gradio's `auth_dependency`: whom the door let in; nobody where a request went around it."""
    name = request.scope.get(PERSON)
    return name if isinstance(name, str) else None


def _from_here(method: str, headers: Headers) -> bool:
    """No other site's script or form may act for whoever is signed in here; a link may lead to a page."""
    site = headers.get("sec-fetch-site")
    if site is not None:  # a script cannot make this up, and a proxy that changes the host leaves it as it is
        link = method in _READ and headers.get("sec-fetch-mode") == "navigate"
        return site in ("same-origin", "none") or link
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _means_this_machine(host: str) -> bool:
    """By the name that the browser was given. Where nobody signs in, a site whose name was made to lead here (DNS
    rebinding) would otherwise be taken for this one.
    """
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def once() -> Message:
        return waiting.pop() if waiting else await receive()

    return once


def _said(status: int, text: str) -> Response:
    if status in (401, 403, 429, 503):
        return JSONResponse({"detail": text}, status)  # as Gradio's pages show it
    return PlainTextResponse(text, status)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for key, value in _HEADERS.items():
                headers[key] = value
        await send(message)

    return sending
