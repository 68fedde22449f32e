"""How many chat turns and ratings a second one store takes, of one process and of several.

Each turn is what the app saves for it: the question with the place of its answer, the answer's end, and a rating, each
on the disk before the next. Turns come at random moments, more and more of them a second, until one of these savings
in twenty takes longer than `_LIMIT_MS`, the time that it had to wait for its turn included.
"""

import json
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from benchmarks.record import Screen, percentiles, write_result
from store import Store
from store.records import Message, MessageStatus, Role, Verdict

_LIMIT_MS, _SECONDS = 50.0, 5.0
_PROCESSES = (1, 2, 4)
_THREADS = 16
_ANSWER = "An answer of some length, as people get them. " * 8


def _start(store: Store, number: int) -> Message:
    question = store.conversations.start("bank", f"Question {number}?", "A title", f"person {number % 50}")
    return store.messages.add(
        question.conversation_id, question.id, Role.ASSISTANT, "", status=MessageStatus.STREAMING
    )


def _turn(store: Store, number: int, due: float) -> list[float]:
    """Return how long each of the three savings took; the first one counts from when it was due."""
    message = store.group_commit(lambda: _start(store, number))
    started = time.monotonic()
    store.group_commit(lambda: store.messages.finish(message.id, _ANSWER, MessageStatus.COMPLETE))
    finished = time.monotonic()
    store.ratings.add(message.id, f"person {number % 50}", Verdict.UP)
    return [started - due, finished - started, time.monotonic() - finished]


def _work(path: Path, rate: float, seed: int) -> list[float]:
    """Turns of one process, `rate` of them a second."""
    at_random, found = random.Random(seed), []
    with Store(path, create=False) as store, ThreadPoolExecutor(_THREADS) as pool:
        due = time.monotonic() + 1.0  # until the others are there
        last = due + _SECONDS
        while (due := due + at_random.expovariate(rate)) < last:
            time.sleep(max(0.0, due - time.monotonic()))
            found.append(pool.submit(_turn, store, at_random.getrandbits(30), due))
        return [seconds for one in found for seconds in one.result()]


def _measure(path: Path, processes: int, rate: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.store_load", "--store", path, "--rate", rate / processes]
    workers = [
        subprocess.Popen([*map(str, command), "--seed", str(seed)], stdout=subprocess.PIPE)
        for seed in range(processes)
    ]
    outputs = [worker.communicate()[0] for worker in workers]
    seconds = [one for output in outputs for one in json.loads(output)]
    return {
        "processes": processes,
        "turns_per_s": rate,
        "savings": len(seconds),
        "ms": percentiles([1000 * one for one in seconds], (50, 95, 99), 1),
    }


def main(
    out: Annotated[Path | None, typer.Option(help="A JSON file for the result.")] = None,
    store: Annotated[Path | None, typer.Option(hidden=True)] = None,
    rate: Annotated[float, typer.Option(hidden=True)] = 0.0,
    seed: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    """Measure the most turns a second that a store takes; it takes some three minutes.

    Example: python -m benchmarks.store_load
    """
    if store:
        print(json.dumps(_work(store, rate, seed)))
        return
    screen, rows = Screen(), list[dict[str, Any]]()
    for processes in _PROCESSES:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "shorthand.sqlite"
            with Store(path) as new:
                new.assistants.create("bank", "Bank", "exact")
            offered = 50.0
            while True:
                rows.append(_measure(path, processes, round(offered)))
                screen.say(str(rows[-1]))
                if rows[-1]["ms"]["p95"] > _LIMIT_MS:
                    break
                offered *= 1.5
    write_result(out, "store_load", 0, {"limit_ms": _LIMIT_MS, "rows": rows})


if __name__ == "__main__":
    typer.run(main)
