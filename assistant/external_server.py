"""Servers that somebody else runs (`--vllm-url`): watched, never started or stopped.

In: their addresses. Out: a ServerState as for the own server, and a call each time that they come (back). Does
not know what is asked of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from assistant.vllm_server import Phase, ServerState, is_healthy

_POLL_S = 3.0


class ExternalServers:
    """The servers at `urls`; `on_ready` loads what must be there before chat is taken."""

    def __init__(self, urls: Sequence[str], on_ready: Callable[[], None]):
        self.urls = tuple(urls)
        self.state = ServerState(Phase.STARTING, f"waiting for {', '.join(urls)}", time.time())
        self._on_ready = on_ready
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="vllm-external", daemon=True)

    def start(self) -> None:
        self._watcher.start()

    def stop(self) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.is_set():
            away = [url for url in self.urls if not is_healthy(url)]
            if away:
                self._set(Phase.STARTING, f"no answer from {', '.join(away)}")
            elif self.state.phase is not Phase.READY:
                try:
                    self._on_ready()
                    self._set(Phase.READY, "ready")
                except (
                    Exception
                ) as error:  # whatever it is, the person must see it, and the next round tries again
                    self._set(Phase.STARTING, f"not ready: {error}")
            self._stopped.wait(_POLL_S)

    def _set(self, phase: Phase, detail: str) -> None:
        since = self.state.since if phase is self.state.phase else time.time()
        self.state = ServerState(phase, detail, since)
