"""Lets through the requests that the pages make, from this site, by a person who may; refuses all others.

Gradio has about seventy routes, some of which ask for nobody's name: what is not listed here does not exist.

A tab's `session_hash`, under which Gradio keeps its state and its stream of events, is made up by the browser. Here it
is mixed with the person's name, so that whoever learns another's hash has a session of their own under it.
"""

import asyncio
import hashlib
import json
import math
import re
import secrets
import time
from collections import Counter
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from starlette.authentication import BaseUser, UnauthenticatedUser
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assistant.incoming import READ, place, read_body, refuse_other_sites, replayed
from assistant.startup import network
from assistant.web.access import SIGNED_OUT, Access
from assistant.web.document import rewriting
from assistant.web.downloads import DOWNLOAD
from assistant.web.sign_in import SIGN_IN, SIGN_OUT, Visitor, session_token
from store.accounts import LOCAL
from store.errors import StoreError

_CALL_BYTES = 4 << 20  # a prompt of 200,000 characters as JSON fits
_FORM_BYTES = 16 << 10
_AT_ONCE = 100  # requests of one person; a tab keeps two open
_DOCUMENTS = ("/", "/config")
_STYLES = ("/theme.css", "/gradio_api/theme.css")
_STATIC = re.compile(r"/(assets|static|svelte)/[A-Za-z0-9._/+-]+")
_STREAM = "/gradio_api/queue/data"
_HEARTBEAT = re.compile(r"(/gradio_api/heartbeat/)([A-Za-z0-9]{1,64})")
_TICK = "/gradio_api/run/predict"
_CALLS = ("/gradio_api/queue/join", _TICK)
_SESSIONS = 10_000  # as many as Gradio keeps the state of
_OPENS_WITHIN_S = 15.0
# A page that lost its server asks for it every 2 s, and loads itself again. It is random and tells nobody anything, so
# that somebody who was signed out meanwhile comes to the sign-in page too.
_STARTED_AS = "/gradio_api/app_id"
ICON = "/favicon.ico"  # which browsers ask for by themselves, also beside the sign-in page and a download
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "same-origin",
}


class AllowlistMiddleware:
    """ASGI middleware around Gradio's app; it finds out who asks."""

    def __init__(self, app: ASGIApp, page: gr.Blocks, access: Access) -> None:
        self._app = app
        self._page = page
        self._access = access
        self._salt = secrets.token_bytes(16)
        self._open: Counter[str] = Counter()  # requests under way, by person
        self._opened: dict[str, float] = {}  # sessions, and when one that did not open here ticked first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":  # Gradio has no websocket
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._respond(Request(scope, receive), _with_headers(scope, send))

    async def _respond(self, request: Request, send: Send) -> None:
        try:
            request.scope["user"] = await self._visitor(request)
            refuse_other_sites(request, is_local=request.user.display_name == LOCAL)
            address = network(request.client.host) if request.client else ""
            name = request.user.display_name or f"from {address}"  # while nobody has signed in
            too_many = HTTPException(429, "Too many requests at once. Close some tabs.")
            with place(self._open, name, _AT_ONCE, too_many):
                scope, receive = await self._admitted(request)
                is_document = scope["path"] in _DOCUMENTS and request.user.is_authenticated
                await self._app(scope, receive, rewriting(send) if is_document else send)
        except HTTPException as error:
            # As Gradio's pages show it; to one that is lost, what makes it ask until it may load itself again.
            lost = {"error": "Connection errored out. "} if error.status_code == 410 else {}
            refusal = JSONResponse({"detail": error.detail} | lost, error.status_code, error.headers)
            await refusal(request.scope, request.receive, send)

    async def _visitor(self, request: Request) -> BaseUser:
        token = session_token(request)
        try:
            person = await asyncio.to_thread(self._access.person, token)
        except StoreError as error:
            raise HTTPException(503, str(error)) from error
        return Visitor(person.name, token) if person else UnauthenticatedUser()

    async def _admitted(self, request: Request) -> tuple[Scope, Receive]:
        """The request as Gradio gets it. Raises HTTPException where it does not get it."""
        path = request.scope["path"]
        if path in (SIGN_IN, SIGN_OUT):
            if request.method in READ:
                return request.scope, request.receive
            body = await read_body(request, _FORM_BYTES)
            return request.scope, replayed(body, request.receive)
        if path in (_STARTED_AS, ICON) and request.method in READ:
            return request.scope, request.receive
        if not request.user.is_authenticated:
            if path == "/" and request.method in READ:
                raise HTTPException(303, headers={"location": SIGN_IN.lstrip("/")})
            raise HTTPException(401, SIGNED_OUT)
        if request.method in READ:
            return self._reading(request, path), request.receive
        if path in _CALLS:
            return await self._call(request)
        raise HTTPException(404, "There is nothing here.")

    def _reading(self, request: Request, path: str) -> Scope:
        scope, name = request.scope, request.user.display_name
        if path in _DOCUMENTS + _STYLES:
            return {**scope, "query_string": b""}
        if path == DOWNLOAD or (_STATIC.fullmatch(path) and ".." not in path):
            return scope
        if path == _STREAM:
            session = self._session(name, request.query_params.get("session_hash", ""))
            if session not in self._page._queue.pending_messages_per_session:  # Gradio would fail half way
                raise HTTPException(404, "Nothing is on its way in this session.")
            return {**scope, "query_string": urlencode({"session_hash": session}).encode()}
        if found := _HEARTBEAT.fullmatch(path):
            path = found[1] + self._session(name, found[2])
            return {**scope, "path": path, "raw_path": path.encode(), "query_string": b""}
        raise HTTPException(404, "There is nothing here.")

    async def _call(self, request: Request) -> tuple[Scope, Receive]:
        """An event of a page: only what Gradio's pages send reaches Gradio."""
        call = _parsed(await read_body(request, _CALL_BYTES))
        if type(call.get("fn_index")) is not int or call["fn_index"] not in self._page.fns:
            text = "The request names no event of the pages. Reload the page: it may be of another version."
            raise HTTPException(400, text)
        fields = ("data", "fn_index", "trigger_id", "event_data")
        passed_on = {key: call[key] for key in fields if key in call}
        session = passed_on["session_hash"] = self._session(request.user.display_name, call["session_hash"])
        self._refuse_lost(session, call["fn_index"], ticks=request.scope["path"] == _TICK)
        # Halves of characters, which JSON can name and UTF-8 cannot hold, become U+FFFD, as a browser sends them from a
        # form: what Gradio sends back with one in it ended the stream of the page's events.
        units = json.dumps(passed_on, ensure_ascii=False).encode("utf-16-le", "surrogatepass")
        body = units.decode("utf-16-le", "replace").encode()
        headers = MutableHeaders(scope=dict(request.scope))
        headers["content-length"], headers["content-type"] = str(len(body)), "application/json"
        scope = {**request.scope, "headers": headers.raw, "query_string": b""}
        return scope, replayed(body, request.receive)

    def _refuse_lost(self, session: str, function: int, ticks: bool) -> None:
        """A tab that was opened before this process has to load itself again: Gradio does not know its choices any
        more. It is told as it ticks, which every open tab does, and not while it may still be opening.
        """
        now = time.monotonic()
        if any(event == "load" for _, event in self._page.fns[function].targets):
            self._opened[session] = math.inf
            while len(self._opened) > _SESSIONS:
                del self._opened[next(iter(self._opened))]
        elif ticks and now - self._opened.setdefault(session, now) > _OPENS_WITHIN_S:
            raise HTTPException(410, "The app was started again. Reload the page.")

    def _session(self, name: str, given: str) -> str:
        mixed = b"\0".join((self._salt, name.encode(), given.encode(errors="replace")))
        return hashlib.sha256(mixed).hexdigest()[:32]


def user_name(request: Request) -> str | None:
    """For Gradio's `auth_dependency`: who sent it; nobody where a request went around the middleware."""
    user = request.scope.get("user")
    return user.display_name if user and user.is_authenticated else None


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        call = json.loads(body)  # the parser that Gradio's framework uses, so that both read the same
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "The request is no JSON.") from error
    if not isinstance(call, dict) or not isinstance(call.get("session_hash"), str):
        raise HTTPException(400, "The request names no session.")
    return call


def _with_headers(scope: Scope, send: Send) -> Send:
    added = dict(_HEADERS)
    if scope["scheme"] == "https":
        added["strict-transport-security"] = "max-age=31536000"
    if scope["path"] not in _STYLES and not _STATIC.fullmatch(scope["path"]):
        added["cache-control"] = "no-store"
        added["x-accel-buffering"] = "no"  # nginx hands on at once what is streamed

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(added)
        await send(message)

    return sending
