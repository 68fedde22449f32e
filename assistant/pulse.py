"""Whether a vLLM that seems to run still makes tokens: a stopped engine answers /health as if nothing were wrong.

In: a server's address and key. Out: for how many seconds it has shown no sign of life. Place in the flow:
`vllm_server` asks while it is ready, and starts a server again that has hung. Does not know who chats.

Signs of life are its own counters of tokens, which chat, gate and probe move; while nobody asks for anything, one token
of the base model now and then.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

import httpx

from assistant.vllm_client import CAN_WAIT

# While nothing is asked: about 0.1 % of a core for the embedded model.
_ASK_AFTER_S = 30.0
_COUNTERS = re.compile(r"^vllm:(?:prompt|generation)_tokens_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)


class Pulse:
    """One server; call `silence_s` every few seconds, from one thread. `ask_after_s` without a token: one is asked
    for.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        ask_after_s: float = _ASK_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._url, self._headers = url, {"Authorization": f"Bearer {key}"} if key else {}
        self._ask_after_s, self._clock = ask_after_s, clock
        self._alive_at = clock()
        self._counted: str | None = None
        self._asking: threading.Thread | None = None

    def begin(self) -> None:
        """The server has just become ready."""
        self._alive_at = self._clock()

    def silence_s(self) -> float:
        """Seconds since the last sign of life; never raises."""
        counted = self._count()
        if counted is not None and counted != self._counted:
            self._counted = counted
            self._alive_at = self._clock()
        silent = self._clock() - self._alive_at
        if silent >= self._ask_after_s and (self._asking is None or not self._asking.is_alive()):
            self._asking = threading.Thread(target=self._ask, name="vllm-pulse", daemon=True)
            self._asking.start()
        return silent

    def _count(self) -> str | None:
        try:  # our own server speaks plain HTTP; see `vllm_server._health`
            text = httpx.get(
                f"{self._url}/metrics", headers=self._headers, timeout=5.0, trust_env=False, verify=False
            ).text
        except httpx.HTTPError:
            return None
        return " ".join(_COUNTERS.findall(text))

    def _ask(self) -> None:
        """One token; an answer of any kind but a failure within the server is a sign of life."""
        request = {"model": "base", "prompt": [1], "max_tokens": 1}
        try:
            response = httpx.post(
                f"{self._url}/v1/completions",
                json=request,
                headers=self._headers | CAN_WAIT,
                timeout=60.0,
                trust_env=False,
                verify=False,
            )
        except httpx.HTTPError:
            return
        if response.status_code < 500:
            self._alive_at = self._clock()
