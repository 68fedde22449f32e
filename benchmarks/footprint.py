"""Memory and open file handles of processes, sampled, and whether they grow."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psutil

_WARM_UP = 0.25  # of the samples: caches fill up and connections are opened


@dataclass
class Footprint:
    """One process's samples, oldest first: resident memory in MiB without what it shares, and open handles."""

    mib: list[float] = field(default_factory=list)
    handles: list[int] = field(default_factory=list)

    def as_record(self) -> dict[str, Any]:
        """After the warm-up: medians of the first and of the last quarter of the samples, and the growth in percent."""
        record: dict[str, Any] = {"samples": len(self.mib)}
        for name, all_of_it in (("mib", self.mib), ("handles", self.handles)):
            values = all_of_it[int(len(all_of_it) * _WARM_UP) :]
            quarter = max(1, len(values) // 4)
            first, last = statistics.median(values[:quarter]), statistics.median(values[-quarter:])
            record[name] = {
                "first": round(first, 1),
                "last": round(last, 1),
                "most": round(max(values), 1),
                "growth_percent": round(100 * (last / first - 1), 2) if first else 0.0,
            }
        return record


class Footprints:
    """Of several processes; a process that was replaced begins anew under its name and number."""

    def __init__(self) -> None:
        self._found: dict[str, Footprint] = defaultdict(Footprint)

    def sample(self, processes: Mapping[str, int]) -> None:
        """Sample each once; one that has ended is left out."""
        for name, pid in processes.items():
            try:
                process = psutil.Process(pid)
                memory, handles = process.memory_info(), process.num_fds()
            except psutil.Error:
                continue
            footprint = self._found[f"{name} {pid}"]
            footprint.mib.append((memory.rss - memory.shared) / 2**20)
            footprint.handles.append(handles)

    def as_record(self, least: int = 8) -> dict[str, Any]:
        """Those with at least so many samples; names without process numbers, which mean nothing later."""
        counts: dict[str, int] = defaultdict(int)
        record = {}
        for key, footprint in self._found.items():
            name = key.rpartition(" ")[0]
            if len(footprint.mib) >= least:
                counts[name] += 1
                record[name if counts[name] == 1 else f"{name}, start {counts[name]}"] = footprint.as_record()
        return record


def server_processes(app: int) -> dict[str, int]:
    """vLLM's processes below `app`, by what they are: their own titles, `VLLM::EngineCore` and so on, or the module."""
    found = {}
    for process in psutil.Process(app).children(recursive=True):
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        line = " ".join(words)
        if words and words[0].startswith("VLLM::"):
            found[words[0].removeprefix("VLLM::")] = process.pid
        elif "vllm.entrypoints" in line and "assistant.supervisor" not in line:
            found["API server"] = process.pid
        elif "trainer watch" in line and "assistant.supervisor" not in line:
            found["trainer watch"] = process.pid
    return found
