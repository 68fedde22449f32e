"""kill -9 while a store is written: whatever a person was told is saved has to be there, once and whole.

In: how many kills. Out: a table, and JSON with provenance. After each kill the store is opened again as the app would,
and everything that was acknowledged since the kill before is looked up; every `--check` kills `store check` runs too.

    python -m benchmarks.store_kills --kills 1000 --out benchmarks/results/store_kills.json
"""

from __future__ import annotations

import multiprocessing
import random
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from benchmarks.faults.busy_writer import ASSISTANT, Saved, digest, set_up, write_all_the_time
from benchmarks.records import result_file
from benchmarks.records.command import command_line, fail
from benchmarks.records.provenance import provenance
from benchmarks.records.screen import Screen
from store import Store

_FIRST_WITHIN_S = 60.0
# Transactions take 1 to 20 ms here; a kill falls anywhere in the first dozens of them.
_LIVES_S = 0.15
_TABLES = {
    "message": ("messages", "text"),
    "rating": ("ratings", "comment"),
    "decision": ("decisions", "correction"),
}


@dataclass
class Toll:
    """What `kills` came to. `in_a_write` left a journal behind, from which SQLite takes back what was not finished."""

    kills: int = 0
    in_a_write: int = 0
    acknowledged: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    wrong_swaps: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    slowest_open_s: float = 0.0

    @property
    def sound(self) -> bool:
        return not (self.lost or self.wrong_swaps or self.complaints)


def kill_often(path: Path, kills: int, seed: int, check_every: int, screen: Screen) -> Toll:
    """`path` is of a store that does not exist yet."""
    chance = random.Random(seed)
    toll = Toll()
    set_up(path)
    served = "1"
    with screen.bar("kills") as bar:
        for number in range(kills):
            saved, in_a_write = _one_life(path, seed * 1_000_000 + number, chance)
            toll.kills += 1
            toll.in_a_write += in_a_write
            served = _look(path, saved, served, toll, check=number % check_every == 0 or number == kills - 1)
            bar(number + 1, kills)
    return toll


def _one_life(path: Path, seed: int, chance: random.Random) -> tuple[list[Saved], bool]:
    """What a process acknowledged until it was killed, and whether that was within a write."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=write_all_the_time, args=(path, seed, theirs), daemon=True
    )
    process.start()
    theirs.close()
    if not ours.poll(_FIRST_WITHIN_S):
        fail(f"The process that writes to {path} has saved nothing within {_FIRST_WITHIN_S:.0f} s.", 1)
    time.sleep(chance.uniform(0.0, _LIVES_S))
    process.kill()
    process.join()
    journal = path.with_name(f"{path.name}-journal")
    in_a_write = journal.exists() and journal.stat().st_size > 0
    saved = []
    try:
        while ours.poll():
            saved.append(ours.recv())
    except (EOFError, OSError):  # the last one was cut off: nobody was told
        pass
    return saved, in_a_write


def _look(path: Path, saved: list[Saved], served: str, toll: Toll, check: bool) -> str:
    """Returns the deployment that is active now."""
    began = time.perf_counter()
    with Store(path) as store:
        store.sweep_streaming()
        toll.slowest_open_s = max(toll.slowest_open_s, time.perf_counter() - began)
        for one in saved:
            toll.acknowledged[one.kind] = toll.acknowledged.get(one.kind, 0) + 1
            if one.kind == "swap":
                served = one.id
            elif count(store, one) != 1:
                toll.lost.append(f"{one.kind} {one.id}")
        active = store.active(ASSISTANT)
        # One more swap may have been saved and not acknowledged, but there is always one that serves, and one alone.
        if active is None or not _swapped(store, served, str(active.id)):
            toll.wrong_swaps.append(f"{served} was acknowledged, {active and active.id} is active")
        if check:
            toll.complaints += store.check()
        return str(active.id) if active else served


def count(store: Store, one: Saved) -> int:
    """How often what was acknowledged is there, as it was told."""
    table, column = _TABLES[one.kind]
    with store._file.reading() as transaction:
        rows = transaction.rows(f"SELECT {column} AS text FROM {table} WHERE id = ?", [one.id])
    return sum(digest(row["text"]) == one.digest for row in rows)


def _swapped(store: Store, acknowledged: str, active: str) -> bool:
    """The acknowledged deployment is active, or was until the newest activation replaced it."""
    log = [str(item.deployment_id) for item in store.activations(ASSISTANT)]
    return log[-1] == active and acknowledged in log[-2:]


def main(
    kills: Annotated[int, typer.Option(min=1, help="Processes that are killed.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of what is written, and of when it is killed.")] = 1,
    check_every: Annotated[int, typer.Option(min=1, help="Kills between complete checks of the file.")] = 50,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the result.")] = None,
) -> None:
    """Kill a process that writes, again and again, and look for what it had acknowledged.

    Example: python -m benchmarks.store_kills --kills 1000 --out benchmarks/results/store_kills.json
    """
    screen = Screen()
    began = time.monotonic()
    with TemporaryDirectory() as folder:
        toll = kill_often(Path(folder) / "shorthand.sqlite", kills, seed, check_every, screen)
    screen.say(
        f"{toll.kills:,} kills, {toll.in_a_write:,} of them within a write. Acknowledged: "
        + ", ".join(f"{count:,} {kind}s" for kind, count in sorted(toll.acknowledged.items()))
        + f". Lost: {len(toll.lost)}. Wrong deployments: {len(toll.wrong_swaps)}. Complaints of the check: "
        f"{len(toll.complaints)}. Slowest opening: {toll.slowest_open_s:.2f} s."
    )
    if out is not None:
        body = {"benchmark": "store_kills", **asdict(toll), "seconds": round(time.monotonic() - began, 1)}
        result_file.write(
            out, body | {"provenance": provenance(command_line("benchmarks.store_kills"), seed)}
        )
    if not toll.sound:
        fail("\n".join([*toll.lost, *toll.wrong_swaps, *toll.complaints]), 1)


if __name__ == "__main__":
    typer.run(main)
