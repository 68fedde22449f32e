"""An HTTP transport to a real server that makes one request go wrong: a kill, a stop, an error after the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import httpx

from benchmarks.faults.swap_steps import Fault, How


class Victim(Protocol):
    """The processes of a server."""

    def kill(self) -> None:
        """kill -9; it is started again by whoever watches over it."""

    def suspend(self) -> None:
        """SIGSTOP."""


class Misbehaving(httpx.AsyncBaseTransport):
    """Passes requests on to `inner`; the one that `fault` is about goes wrong, and `fault` is None from then on."""

    def __init__(
        self,
        victim: Victim,
        restart_by_hand: Callable[[], None],
        inner: httpx.AsyncBaseTransport,
    ):
        self._victim, self._restart_by_hand = victim, restart_by_hand
        self._inner = inner
        self.fault: Fault | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        fault = self.fault
        if fault is None or not fault.is_due(request.url.path):
            return await self._inner.handle_async_request(request)
        self.fault = None
        if fault.how is How.DIES_BEFORE:
            await asyncio.to_thread(self._victim.kill)
        if fault.how is How.HANGS:
            await asyncio.to_thread(self._victim.suspend)
        response = await self._inner.handle_async_request(request)
        body = await response.aread()  # the work is done
        if fault.how is How.DIES_AFTER:
            await asyncio.to_thread(self._victim.kill)
            raise httpx.ReadError("The server was killed after the work.", request=request)
        if fault.how is How.FAILS_AFTER:
            return httpx.Response(500, text="Something went wrong after the work was done.", request=request)
        if fault.how is How.RESTARTED:
            await asyncio.to_thread(self._restart_by_hand)
        kind = {"content-type": response.headers.get("content-type", "application/json")}
        return httpx.Response(response.status_code, headers=kind, content=body, request=request)

    async def aclose(self) -> None:
        await self._inner.aclose()
