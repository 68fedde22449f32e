"""Connections to a model server: `unix:PATH` is the Unix socket of our own vLLM, anything else a URL."""

import socket
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

_UNIX = "unix:"
# vLLM closes a connection that was idle for 5 s, which is also httpx's own limit: a request that went out at that
# moment was lost.
_LIMITS = httpx.Limits(max_connections=512, keepalive_expiry=2.0)
# A machine that is gone, or that the network no longer reaches, just says nothing. The kernel asks for a sign of life
# after 5 s of silence, again every 5 s, and gives the connection up after 15 s; a server that is only busy has one that
# answers, however long the engine takes.
_SIGNS_OF_LIFE = {
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 5,
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): 5,
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT): 15_000,  # of what was sent, too
}


def async_client(
    address: str,
    key: str | None,
    timeout: httpx.Timeout | float,
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """Connections to a server for the running event loop."""
    client, through = _options(address, key)
    transport = transport or _transport(through)
    return httpx.AsyncClient(**client, transport=transport, timeout=timeout)


def _transport(through: dict[str, Any]) -> AiohttpTransport:
    transport = AiohttpTransport(**through, limits=_LIMITS)
    if through["uds"] is None:  # made within the running loop, when it is first needed
        transport.client = lambda: aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=_LIMITS.max_connections or 0,
                keepalive_timeout=_LIMITS.keepalive_expiry,
                ssl=transport.ssl_context,
                socket_factory=_watched_socket,
            )
        )
    return transport


def _watched_socket(found: tuple[Any, ...]) -> socket.socket:
    """For an address as `getaddrinfo` gives it."""
    made = socket.socket(*found[:3])
    for option, value in _SIGNS_OF_LIFE.items():
        made.setsockopt(*option, value)
    return made


def blocking_client(address: str, timeout_s: float) -> httpx.Client:
    """The same without a key, for a thread without an event loop."""
    client, through = _options(address)
    return httpx.Client(**client, transport=httpx.HTTPTransport(**through), timeout=timeout_s)


def _options(address: str, key: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a client, and of its transport."""
    path = address.removeprefix(_UNIX) if address.startswith(_UNIX) else None
    client = {
        "base_url": "http://localhost" if path else address,
        "headers": {"Authorization": f"Bearer {key}"} if key else {},
        "trust_env": False,
    }
    # Where nothing is encrypted, the machine's certificates are not read: that took 56 ms of every new client.
    return client, {"uds": path, "verify": address.startswith("https:"), "trust_env": False}
