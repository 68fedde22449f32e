"""What every row of `benchmarks.peers` shares: where it works, how ways are measured in turn, what it could not do."""

import asyncio
import statistics
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from assistant.startup import resolve

Turn = dict[str, float]  # what one turn of one way measured, by name and unit
Found = Mapping[str, Sequence[Turn]]  # of each way


class NotPossible(Exception):
    """A peer cannot be installed, started or asked here; the message says why."""


@dataclass
class Bench:
    """`scratch` keeps what is installed for the next time; `remarks` say what a row could not do and why."""

    scratch: Path
    turns: int
    seed: int
    say: Callable[[str], None]
    remarks: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def model_dir(self) -> Path:
        return resolve(None, self.scratch)

    @contextmanager
    def unless_impossible(self, peer: str) -> Iterator[None]:
        """Leave a peer out, and say why, where it is not to be had here."""
        try:
            yield
        except NotPossible as error:
            self.remarks.append(f"{peer}: {error}")
            self.say(self.remarks[-1])

    def in_turn(self, ways: Mapping[str, Callable[[], Turn]]) -> Found:
        """Measure each way once in every turn, so that noise hits all alike; a way that fails is left out."""
        found: dict[str, list[Turn]] = {name: [] for name in ways}
        failed: set[str] = set()
        for turn in range(self.turns):
            for name in [name for name in ways if name not in failed]:
                failed.add(name)
                with self.unless_impossible(name):
                    found[name].append(ways[name]())
                    failed.discard(name)
                    self.say(f"turn {turn + 1}, {name}: {found[name][-1]}")
        return {name: turns for name, turns in found.items() if name not in failed}


def in_loop(runner: asyncio.Runner, measure: Callable[[], Coroutine[None, None, Turn]]) -> Callable[[], Turn]:
    """The same to a caller without an event loop."""
    return lambda: runner.run(measure())


def spread(turns: Sequence[Turn]) -> dict[str, list[float]]:
    """The median of each measure over the turns, with the least and the most."""
    columns = {name: [turn[name] for turn in turns] for name in turns[0]}
    return {
        name: [round(one, 3) for one in (statistics.median(values), min(values), max(values))]
        for name, values in columns.items()
    }


def table(ways: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """The spreads as Markdown: a way to a line, a measure to a column."""
    names = list(dict.fromkeys(name for measures in ways.values() for name in measures))
    lines = [["", *names], ["---"] * (len(names) + 1)]
    lines += [
        [way, *(_cell(measures[name]) if name in measures else "" for name in names)]
        for way, measures in ways.items()
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(values: Sequence[float]) -> str:
    median, least, most = (f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}" for value in values)
    return median if least == most else f"{median} ({least} to {most})"
