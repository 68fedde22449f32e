"""The result of a loop: one JSON file that grows with each step, and from which an interrupted loop goes on."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.tasks.measurement import Measurement
from benchmarks.tasks.task import Item, Task

SIMULATED = (
    "The ratings are simulated: a program asked the task's train questions through the real chat path, rated each real "
    "answer by the task's scorer against the references, and corrected some of the bad ones with a reference. "
    "Everything else (server, trainer, gate, swap, measurements) is real."
)


@dataclass(frozen=True)
class LoopSettings:
    """What a loop was asked to do; `corrects` is a share, None in `epochs` and `model` is the product's default."""

    ratings: int
    rounds: int
    test: int
    seed: int
    corrects: float
    epochs: int | None = None
    model: str | None = None


class Result:
    """The file at `path` and what stands in it."""

    def __init__(self, path: Path, body: dict[str, Any]):
        self.path = path
        self.body = body

    @classmethod
    def open(cls, path: Path, task: Task, settings: LoopSettings, items: Sequence[Item]) -> Result:
        """The result so far, or a new one that is written at once; raises ResultError, OSError."""
        started = {
            "benchmark": "loop",
            "ratings_are": SIMULATED,
            "task": task_record(task),
            "settings": asdict(settings),
            "test_ids": [item.id for item in items],
            # Servers that go on (--vllm-url) must never see an adapter's name twice: their prefix cache would mix
            # the two.
            "assistant_id": f"{task.id}-{secrets.token_hex(3)}",
            "finished": False,
            "seconds": {},
            "rounds": [],
            "measurements": [],
        }
        return cls(path, record.read_or_start(path, started))

    @property
    def assistant_id(self) -> str:
        return str(self.body["assistant_id"])

    @property
    def rounds(self) -> list[dict[str, Any]]:
        return list(self.body["rounds"])

    def add_origin(self, origin: dict[str, Any]) -> None:
        """Where the numbers come from; of a loop that was taken up again also what it went on with."""
        if self.body.setdefault("provenance", origin) is not origin:
            self.body.setdefault("continued", []).append({name: origin[name] for name in ("commit", "date")})
        self.save()

    def add_round(self, measured: dict[str, Any]) -> None:
        self.body["rounds"].append(measured)
        self.save()

    def measurement(self, adapter: str | None, segment_ids: Sequence[str]) -> Measurement | None:
        """What this pair answered earlier. The same requests are not sent twice: decoding is greedy."""
        for row in self.body["measurements"]:
            if row["adapter"] == adapter and row["segment_ids"] == list(segment_ids):
                values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in row.items()}
                return Measurement(**values)
        return None

    def add_measurement(self, measured: Measurement) -> None:
        self.body["measurements"].append(
            {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(measured).items()}
        )
        self.save()

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Adds to the phase's seconds, however it ends: a loop that is taken up again goes on counting."""
        started = time.monotonic()
        try:
            yield
        finally:
            so_far = self.body["seconds"].get(phase, 0.0)
            self.body["seconds"][phase] = round(so_far + time.monotonic() - started, 1)
            self.save()

    def save(self) -> None:
        record.write(self.path, self.body)


def task_record(task: Task) -> dict[str, Any]:
    """Which task it was."""
    return {
        "name": task.name,
        "sha256": task.sha256,
        "source": task.source,
        "license": task.license,
        # Without the path of a database, which is another one on every machine.
        "scorer": "sql" if task.scorer.startswith("sql:") else task.scorer,
        "train": len(task.train),
        "test": len(task.test),
        "train_questions_left_out_as_they_are_in_test": task.left_out,
    }
