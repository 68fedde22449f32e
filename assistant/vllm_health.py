"""Whether a vLLM server is ready, healthy, broken or hung."""

import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

import httpx

from assistant.vllm_connection import blocking_client

_NOBODY_LISTENS = 0
_COUNTERS = re.compile(r"^vllm:(?:prompt|generation)_tokens_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)
OnReady = Callable[[str], None]  # with the address of a server that has just come up


class Phase(StrEnum):
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True)
class ServerState:
    """What the page shows: the phase, what is being done, and since when (epoch seconds)."""

    phase: Phase
    detail: str
    since: float

    def moved_to(self, phase: Phase, detail: str) -> Self:
        since = self.since if phase is self.phase else time.time()
        return replace(self, phase=phase, detail=detail, since=since)


def is_healthy(url: str) -> bool:
    """Whether a server answers /health; never raises."""
    return _health(url) == 200


def is_broken(url: str) -> bool:
    """Whether a server that was ready says that its engine is dead, listens no more or is out of reach; never raises.

    Its process may live on for minutes, waiting for connections that nobody closes. One that takes its time is not
    broken: `HealthProbe` finds out whether it lives.
    """
    status = _health(url)
    return status is not None and (status == _NOBODY_LISTENS or status >= 500)


def _health(url: str) -> int | None:
    """The status of /health; None where it takes its time."""
    if url.startswith("unix:"):  # httpx leaves the socket of a refused connection open
        with socket.socket(socket.AF_UNIX) as asked:
            if asked.connect_ex(url.removeprefix("unix:")):
                return _NOBODY_LISTENS
    try:
        with blocking_client(url, timeout_s=2.0) as client:
            return client.get("/health").status_code
    except (httpx.ConnectError, httpx.ConnectTimeout):  # a busy one is connected to by its kernel
        return _NOBODY_LISTENS
    except httpx.HTTPError:
        return None


class HealthProbe:
    """Measures how long a server has made no token, since a hung one answers /health all the same.

    Signs of life are its own counters of tokens, which chat and trainer move. After `ask_after_s` without any, the
    probe asks the base model for one token: every 30 s that is about 0.1 % of a core for the embedded model.
    """

    def __init__(self, url: str, ask_after_s: float, clock: Callable[[], float] = time.monotonic):
        self._url, self._ask_after_s, self._clock = url, ask_after_s, clock
        self._alive_at = clock()
        self._counters: list[str] | None = None
        self._asking: threading.Thread | None = None

    def reset(self) -> None:
        """Count from now on."""
        self._alive_at = self._clock()

    def silence_s(self) -> float:
        """Seconds since the last sign of life, to be asked every few seconds by one thread; never raises."""
        with suppress(httpx.HTTPError), blocking_client(self._url, timeout_s=5.0) as client:
            counters = _COUNTERS.findall(client.get("/metrics").text)
            if counters != self._counters:
                self._counters = counters
                self.reset()
        silent_s = self._clock() - self._alive_at
        if silent_s >= self._ask_after_s and (self._asking is None or not self._asking.is_alive()):
            self._asking = threading.Thread(target=self._ask, daemon=True)
            self._asking.start()
        return silent_s

    def _ask(self) -> None:
        """Ask for one token; an answer of any kind but a failure within the server is a sign of life."""
        request = {"model": "base", "prompt": [1], "max_tokens": 1}
        with suppress(httpx.HTTPError), blocking_client(self._url, timeout_s=60.0) as client:
            if client.post("/v1/completions", json=request).status_code < 500:
                self.reset()


def make_ready(on_ready: OnReady, url: str) -> tuple[Phase, str]:
    """Call `on_ready`; return the phase after it, and why where the server is not ready."""
    try:
        on_ready(url)
    except Exception as error:  # whatever it is, the person must see it, and the next round tries again
        return Phase.STARTING, f"not ready: {error}"
    return Phase.READY, "ready"
