"""The HTTP server of pages and API: what somebody sends who has not signed in is bounded in size, time and number."""

import asyncio
import logging
import resource
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, cast

import h11
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.h11_impl import H11Protocol

from assistant.request_log import with_request_id
from assistant.startup import network
from store.tracebacks import WithoutTexts, without_texts

_log = logging.getLogger(__name__)

_LOOPBACK = ("127.0.0.0/8", "::1")  # a proxy on this machine needs no option
_HEADER_BYTES = 64 << 10
_HEADER_S, _BODY_S = 10.0, 35.0  # the second a little longer than the allow-list reads, which can say more
_OF_ONE_NETWORK = 512  # behind one office's address; a browser opens up to 6
_IN_ALL = 4096
# Without a request. Clients and proxies keep one for less (OpenAI's client 5 s, nginx and load balancers 60) and end it
# themselves: with 5 s, as in uvicorn, a request that was sent while the server closed it was lost.
_KEPT_S = 75
_STOPS_WITHIN_S = 2.0
# A thread that reads the store waits for Python's lock after every statement: behind a busy event loop up to this long.
# With Python's own 5 ms the first words of 50 answers that start at once took a fifth longer.
_SWITCH_S = 0.0005


class BoundedConnection(H11Protocol):
    """uvicorn's, which waits for ever for a request to arrive, from as many connections as the system has."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._trusted: Any = getattr(self.config.app, "trusted", ())
        self._deadline: asyncio.TimerHandle | None = None  # while a request arrives
        self._refused = False
        self.since = time.monotonic()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect(_HEADER_S)
        host = self.client[0] if self.client else ""
        beside = [other for other in self.connections if isinstance(other, BoundedConnection)]
        same = [one for one in beside if one.client and network(one.client[0]) == network(host)]
        over_in_all = len(beside) > _IN_ALL
        if over_in_all or (len(same) > _OF_ONE_NETWORK and host not in self._trusted):
            # What waits longest for its request makes room; an app that asks 100 things at once has many for a moment.
            others = [one for one in (beside if over_in_all else same) if one._waits and one is not self]
            min(others, key=lambda one: one.since, default=self).transport.abort()

    @property
    def _waits(self) -> bool:
        """A request arrives on it, or none has come since the last answer."""
        return bool(self._deadline or self.timeout_keep_alive_task)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        before = self.conn.their_state
        if before is h11.IDLE and not self._deadline:  # the next request on a connection that was kept
            self.since = time.monotonic()
            self._expect(_HEADER_S)
        super().data_received(data)
        self._watch(before)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch(h11.DONE)

    def _watch(self, before: Any) -> None:
        """Set a deadline for the rest of a request, by what has come; part of the next may have come with the last."""
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            if before is not h11.SEND_BODY:
                self._expect(_BODY_S)
        elif state is not h11.IDLE:
            self._expect(None)
        elif before is h11.DONE and self.conn.trailing_data[0]:
            self._expect(_HEADER_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Called where h11 has raised: its hint is 431 where a header is too long."""
        self._refuse(getattr(sys.exception(), "error_status_hint", 400))

    def _expect(self, seconds: float | None) -> None:
        """The rest of the request within so long; None where nothing is on its way."""
        if self._deadline:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._refuse, 408) if seconds else None

    def _refuse(self, status: int) -> None:
        """Say why, where no answer has begun, and read no more; a moment later the connection ends."""
        self._expect(None)
        self._refused = True
        answered = self.cycle is not None and self.cycle.response_started
        if self.transport.is_closing() or answered:
            return self.transport.abort()
        text = HTTPStatus(status).phrase
        head = f"HTTP/1.1 {status} {text}\r\ncontent-type: text/plain\r\nconnection: close\r\n"
        self.transport.write(f"{head}content-length: {len(text)}\r\n\r\n{text}".encode())
        self.transport.pause_reading()
        # At once, what was not read would take the answer with it.
        self.loop.call_later(1.0, self.transport.abort)


class PageServer(uvicorn.Server):
    """In a thread of its own, so that signals stay with whoever started it.

    `proxies` are addresses or networks, besides this machine, whose word counts for who asks, and whether over https.
    `on_stop` runs at the end in its event loop, to which the connections to the model server belong.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        proxies: Sequence[str] = (),
        root_path: str = "",
        on_stop: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        keep_texts_out()
        self._on_stop = on_stop
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * _IN_ALL)), hard))
        sys.setswitchinterval(_SWITCH_S)
        cast(Any, Request).is_disconnected = _never
        config = uvicorn.Config(
            _Front(app, proxies, root_path),
            host,
            port,
            http=BoundedConnection,
            ws="none",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEPT_S,
            h11_max_incomplete_event_size=_HEADER_BYTES,
        )
        super().__init__(config)
        self._thread = threading.Thread(target=self.run, daemon=True)

    @property
    def url(self) -> str:
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        return f"http://{host}:{self.config.port}"

    def start(self) -> None:
        """Returns once it listens; raises OSError where it cannot."""
        self._thread.start()
        while not self.started:
            if not self._thread.is_alive():
                raise OSError(f"The page cannot listen on port {self.config.port}.")
            time.sleep(0.01)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):  # a page's streams never end by themselves
            connection.transport.abort()
        await super().shutdown(sockets)
        if self._on_stop:
            await self._on_stop()

    def stop(self) -> None:
        self.should_exit = True
        self._thread.join(_STOPS_WITHIN_S)


async def _never(request: Request) -> bool:
    """Gradio asks before each message whether the tab has gone: a tenth of the loop's work while 50 answers start.

    It need not, since the response is cancelled once the tab has gone.
    """
    return False


class _Front:
    """Takes the sub-path off that a proxy has left on, and believes trusted proxies alone."""

    def __init__(self, app: ASGIApp, proxies: Sequence[str], root_path: str) -> None:
        inner = ProxyHeadersMiddleware(cast(Any, app), [*_LOOPBACK, *proxies])
        self.trusted = inner.trusted_hosts
        self._app: Any = inner
        self._root = root_path.rstrip("/")
        self._warned = set[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if scope["type"] == "lifespan":
            keep_texts_out_of_loop()
        elif scope["type"] == "http":
            self._warn(scope)
            # h11 looks at what has not ended yet; a whole header may come with one packet.
            if sum(len(name) + len(value) for name, value in scope["headers"]) > _HEADER_BYTES:
                return await PlainTextResponse("The header is too long.", 431)(scope, receive, send)
        if self._root and path == self._root:
            return await RedirectResponse(f"{path.rpartition('/')[2]}/")(scope, receive, send)
        if self._root and path.startswith(f"{self._root}/"):
            scope = {**scope, "path": path.removeprefix(self._root)}
        await self._app(scope, receive, send)

    def _warn(self, scope: Scope) -> None:
        """Once: behind a proxy that is not believed, everybody has one address, and is locked out together."""
        host = scope["client"][0] if scope["client"] else ""
        forwarded = any(name == b"x-forwarded-for" for name, _ in scope["headers"])
        if forwarded and host not in self.trusted and not self._warned:
            self._warned.add(host)
            _log.warning(
                "Requests come through %s, which is not trusted to say who asks. If it is your proxy, start with "
                "--trusted-proxy %s",
                host,
                host,
            )


# What goes wrong is logged with where, and never with what: an error's message often quotes what somebody typed.

_GRADIOS = {"gradio.queueing", "gradio.route_utils", "gradio.routes"}  # not loaded where there are no pages


def keep_texts_out() -> None:
    """For this process: what Gradio prints itself, and what is logged."""

    def print_exc() -> None:
        _log.error("An event of the page failed.\n%s", without_texts(sys.exception()))

    handler = logging.StreamHandler()
    handler.addFilter(with_request_id)
    handler.setFormatter(WithoutTexts("%(levelname)s%(request)s: %(message)s"))
    logging.basicConfig(handlers=[handler])
    for name in _GRADIOS & sys.modules.keys():
        vars(sys.modules[name])["traceback"] = SimpleNamespace(print_exc=print_exc)


def keep_texts_out_of_loop() -> None:
    """For the running event loop, which would print a failed task with its error."""

    def log(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        _log.error("%s\n%s", context["message"], without_texts(context.get("exception")))

    asyncio.get_running_loop().set_exception_handler(log)
