"""Network namespaces of Linux: a process in one has an address of its own and can be cut off from the network."""

from __future__ import annotations

import os
import subprocess

from benchmarks.processes import AppFailed


class Namespace:
    """What stands for a machine of its own, which reaches this one alone; `number` is below 250. Needs root.

    It lives as long as the context. Cut off, it gets what is sent to it and can answer nothing: connections stay, as
    when a cable is pulled.
    """

    def __init__(self, number: int):
        self.name = f"fleet{os.getpid()}-{number}"
        self._link = f"fl{os.getpid()}-{number}"
        self._here, self.address = f"10.77.{number}.1", f"10.77.{number}.2"

    @property
    def command(self) -> list[str]:
        """What runs the words after it in the namespace."""
        return ["ip", "netns", "exec", self.name]

    def cut(self) -> None:
        _ip("-n", self.name, "route", "add", "blackhole", self._here)

    def mend(self) -> None:
        _ip("-n", self.name, "route", "del", "blackhole", self._here)

    def __enter__(self) -> Namespace:
        """Raises AppFailed."""
        _ip("netns", "add", self.name)
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _ip("address", "add", f"{self._here}/30", "dev", self._link)
        _ip("-n", self.name, "address", "add", f"{self.address}/30", "dev", "eth0")
        _ip("link", "set", self._link, "up")
        for device in ("lo", "eth0"):
            _ip("-n", self.name, "link", "set", device, "up")
        return self

    def __exit__(self, *_: object) -> None:
        _ip("link", "delete", self._link)
        _ip("netns", "delete", self.name)


def _ip(*words: str) -> None:
    result = subprocess.run(["ip", *words], capture_output=True, text=True)
    if result.returncode:
        raise AppFailed(f"“ip {' '.join(words)}” failed; it needs root: {result.stderr.strip()}")
