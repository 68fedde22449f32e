"""Percentiles of calls, and whether a target is met.

Wall and processor time: where other programs keep the cores busy, the wall time has their turns in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Timing:
    """Milliseconds; `processor_*` without the waiting for the disk and for other programs."""

    calls: int
    p50: float
    p95: float
    p99: float
    most: float
    processor_p50: float
    processor_p95: float
    processor_p99: float

    def record(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Aim:
    """A line of the table: what was aimed at and what was measured, in the same unit."""

    name: str
    target: str
    measured: float
    processor: float | None
    unit: str
    met: bool


def timed(call: Callable[[T], object], over: Iterable[T]) -> Timing:
    """One call for each."""
    walls, processors = [], []
    for item in over:
        wall, processor = time.perf_counter(), time.process_time()
        call(item)
        walls.append(1000 * (time.perf_counter() - wall))
        processors.append(1000 * (time.process_time() - processor))
    return Timing(
        calls=len(walls),
        p50=percentile(walls, 0.5),
        p95=percentile(walls, 0.95),
        p99=percentile(walls, 0.99),
        most=percentile(walls, 1.0),
        processor_p50=percentile(processors, 0.5),
        processor_p95=percentile(processors, 0.95),
        processor_p99=percentile(processors, 0.99),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is at least as large as `share` of them, to a hundredth."""
    place = max(0, -int(-share * len(values) // 1) - 1)
    return round(sorted(values)[place], 2)
