"""Model servers that somebody else runs: which there are now, and which of them answer."""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from assistant.vllm_health import OnReady, Phase, ServerState, is_broken, is_healthy, make_ready

_POLL_S = 3.0


class ExternalServers:
    """The servers at `urls`, which somebody else runs: watched, never started or stopped. `away` are those that answer
    nothing now; chat goes on with the others. A name with several addresses, such as that of a headless service in
    Kubernetes, is as many servers, which come and go.
    """

    def __init__(self, urls: Sequence[str], urls_now: Callable[[], Sequence[str]] | None = None):
        """`urls_now` says where they are by now, where that changes."""
        self._urls_now = urls_now or (lambda: urls)
        self.urls = tuple(url.rstrip("/") for url in urls)
        self.away = set(self.urls)
        self.state = ServerState(Phase.STARTING, f"waiting for {', '.join(self.urls)}", time.time())
        self._stopped = threading.Event()
        # Of each server that is watched, what keeps it from taking chat.
        self._trouble = dict[str, str | None]()
        self._one_prepares = threading.Lock()

    def start(self, on_ready: OnReady) -> None:
        """Watch them; `on_ready` loads what must be on a server before it takes chat, each time it comes back, one
        server after the other.
        """
        threading.Thread(target=self._follow, args=(on_ready,), daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _follow(self, on_ready: OnReady) -> None:
        while not self._stopped.is_set():
            given = [url.rstrip("/") for url in self._urls_now()]
            found = tuple(dict.fromkeys(one for url in given for one in addresses(url)))
            self.away |= {*found} - {*self.urls}  # until they are prepared
            self.urls = found
            new = {*found} - self._trouble.keys()
            self._trouble |= {url: f"waiting for {url}" for url in new}
            for url in new:
                threading.Thread(target=self._watch, args=(url, on_ready), daemon=True).start()
            self._stopped.wait(_POLL_S)

    def _watch(self, url: str, on_ready: OnReady) -> None:
        """Each by itself: one that is out of reach, or loads adapters for minutes, keeps no other waiting."""
        while url in self.urls and not self._stopped.is_set():
            self._trouble[url] = self._look_at(url, on_ready)
            trouble = [self._trouble.get(one) for one in self.urls]
            phase = Phase.READY if {*self.urls} - self.away else Phase.STARTING
            self.state = self.state.moved_to(phase, "; ".join(filter(None, trouble)) or "ready")
            self._stopped.wait(_POLL_S)
        del self._trouble[url]

    def _look_at(self, url: str, on_ready: OnReady) -> str | None:
        """What keeps this server from taking chat. One that is busy may take its time to answer."""
        if url not in self.away:
            if not is_broken(url):
                return None
            self.away.add(url)
        if not is_healthy(url):
            return f"no answer from {url}"
        with self._one_prepares:
            phase, detail = make_ready(on_ready, url)
        if phase is not Phase.READY:
            return f"{url} is {detail}"
        self.away.discard(url)
        return None


def addresses(url: str) -> list[str]:
    """The URL with each address of its host, where the name has several (and a certificate does not name it)."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        return [url]
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    except OSError:
        return [url]  # it is away, and says so itself
    same_kind = sorted({str(address[0]) for family, *_, address in found if family == found[0][0]})
    if len(same_kind) < 2:
        return [url]
    port = f":{parts.port}" if parts.port else ""
    hosts = [f"[{one}]" if ":" in one else one for one in same_kind]
    return [parts._replace(netloc=host + port).geturl() for host in hosts]
