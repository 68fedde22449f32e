"""Shorthand beside what people would use instead, in turn on one machine: training, answers, streams, pages, a swap."""

import json
from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.peer_rows.bench import Bench, Found, spread, table
from benchmarks.record import Screen, provenance, write

RESULT = Path("benchmarks/results/peers.json")


class Row(StrEnum):
    """Each is a module of `benchmarks.peer_rows`, in order of value."""

    TRAINING = "training"
    ANSWERS = "answers"
    STREAMS = "streams"
    PAGES = "pages"
    SWAP = "swap"


def main(
    row: Annotated[list[Row] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    turns: Annotated[int, typer.Option(min=1, help="Of each way, in turn; training takes one.")] = 5,
    seed: int = 1,
    scratch: Annotated[
        Path, typer.Option(help="Where peers are installed (7 GB) and kept for the next time.")
    ] = Path("data/peers"),
    out: Annotated[Path, typer.Option(help="Rows that are not measured now stay as they are.")] = RESULT,
) -> None:
    """Measure the rows, replace them in the result file, and print their tables.

    Example: python -m benchmarks.peers --row streams --turns 3
    """
    screen = Screen()
    rows = json.loads(out.read_text())["rows"] if out.exists() else {}
    scratch.mkdir(parents=True, exist_ok=True)
    for name in row or Row:
        bench = Bench(scratch.resolve(), turns, seed, screen.say)
        measure: Callable[[Bench], Found] = import_module(f"benchmarks.peer_rows.{name}").measure
        with bench.unless_impossible(name):
            ways = {way: spread(found) for way, found in measure(bench).items()}
            rows[name] = {
                "turns": turns,
                "ways": ways,
                "remarks": bench.remarks,
                "peers": bench.versions,
                "provenance": provenance("peers", seed),
            }
            write(out, {"benchmark": "peers", "rows": rows})
            screen.say(f"\n{name}\n\n{table(ways)}\n" + "".join(f"\n{remark}" for remark in bench.remarks))


if __name__ == "__main__":
    typer.run(main)
