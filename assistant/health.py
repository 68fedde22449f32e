"""Whether a vLLM server is up, and whether its engine still makes tokens: a hung one answers /health all the same."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable

import httpx

from assistant.vllm_client import blocking_client

# While nothing is asked: about 0.1 % of a core for the embedded model.
_ASK_AFTER_S = 30.0
_COUNTERS = re.compile(r"^vllm:(?:prompt|generation)_tokens_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)


def is_healthy(url: str) -> bool:
    """True when a server answers /health; never raises."""
    try:
        return _health(url) == 200
    except httpx.HTTPError:
        return False


def is_broken(url: str) -> bool:
    """True when a server that was ready says that its engine is dead, or listens no more; never raises.

    Its process may live on for minutes, waiting for connections that nobody closes.
    """
    try:
        return _health(url) >= 500
    except httpx.ConnectError:
        return True
    except httpx.HTTPError:  # it takes its time: `HealthProbe` finds out whether it lives
        return False


def _health(url: str) -> int:
    if url.startswith("unix:"):  # httpx leaves the socket of a refused connection open
        with socket.socket(socket.AF_UNIX) as asked:
            try:
                asked.connect(url.removeprefix("unix:"))
            except OSError as error:
                raise httpx.ConnectError(str(error)) from error
    with blocking_client(url, None, timeout_s=2.0) as client:
        return client.get("/health").status_code


class HealthProbe:
    """Measures how long a server has made no token; call `silence_s` every few seconds, from one thread.

    Signs of life are its own counters of tokens, which chat, gate and probe move. After `ask_after_s` without any, the
    probe asks the base model for one token.
    """

    def __init__(
        self,
        url: str,
        ask_after_s: float = _ASK_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._url, self._ask_after_s, self._clock = url, ask_after_s, clock
        self._alive_at = clock()
        self._counters: str | None = None
        self._asking: threading.Thread | None = None

    def reset(self) -> None:
        """Count from now on: the server has just become ready."""
        self._alive_at = self._clock()

    def silence_s(self) -> float:
        """Seconds since the last sign of life; never raises."""
        counters = self._read_counters()
        if counters is not None and counters != self._counters:
            self._counters = counters
            self.reset()
        silent_s = self._clock() - self._alive_at
        if silent_s >= self._ask_after_s and (self._asking is None or not self._asking.is_alive()):
            self._asking = threading.Thread(target=self._ask, name="vllm-health", daemon=True)
            self._asking.start()
        return silent_s

    def _read_counters(self) -> str | None:
        try:
            with blocking_client(self._url, None, timeout_s=5.0) as client:
                return " ".join(_COUNTERS.findall(client.get("/metrics").text))
        except httpx.HTTPError:
            return None

    def _ask(self) -> None:
        """Ask for one token; an answer of any kind but a failure within the server is a sign of life."""
        request = {"model": "base", "prompt": [1], "max_tokens": 1}
        try:
            with blocking_client(self._url, None, timeout_s=60.0) as client:
                response = client.post("/v1/completions", json=request)
        except httpx.HTTPError:
            return
        if response.status_code < 500:
            self.reset()
