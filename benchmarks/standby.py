"""What a standby that Litestream keeps is missing when the first machine is gone.

A process rates as fast as it can. It and Litestream are killed; the copy is restored and compared with what was
acknowledged.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from benchmarks.record import Screen, write_result
from store import Store
from store.records import Role

_LITESTREAM = Path(sys.executable).with_name("litestream")
_CONFIG = Path(__file__).parent.parent / "deploy" / "litestream.yml"
_PATIENCE_S = 60.0
_ANSWER = "answer"
_RATE = f"""
import sys, time
from store import Store
from store.records import Verdict
with Store(sys.argv[1]) as store:
    number = 0
    while True:
        store.ratings.add({_ANSWER!r}, "ann", Verdict.UP, comment=str(number))
        print(number, time.time(), flush=True)
        number += 1
"""


@dataclass(frozen=True)
class Loss:
    """What a standby has of the ratings that were acknowledged before the kill; ages in seconds at that moment."""

    acknowledged: int
    restored: int
    gaps: int  # missing ones that are older than one that is there
    oldest_missing_s: float
    restore_s: float
    problems: list[str]


def lose_the_first(folder: Path, seconds: float) -> Loss:
    """Rate for so long once ratings are copied, kill everything, and restore."""
    first, second = folder / "first" / "shorthand.sqlite", folder / "second" / "shorthand.sqlite"
    replica, log = folder / "replica", folder / "acknowledged"
    places = {"SHORTHAND_DATA_DIR": str(first.parent), "SHORTHAND_REPLICA": f"file://{replica}"}

    def litestream(*words: str | Path) -> subprocess.Popen[bytes]:
        command = [_LITESTREAM, words[0], "-config", _CONFIG, *words[1:]]
        return subprocess.Popen(command, env=os.environ | places, stdout=subprocess.DEVNULL)

    with Store(first) as store:
        store.assistants.create("bank", "Bank", "exact")
        question = store.conversations.start("bank", "Hi")
        store.messages.add(question.conversation_id, question.id, Role.ASSISTANT, "Hello.", id=_ANSWER)
    with log.open("wb") as out:
        copier = litestream("replicate")
        rater = subprocess.Popen([sys.executable, "-c", _RATE, first], stdout=out, cwd=_CONFIG.parent.parent)
        try:
            give_up_at = time.monotonic() + _PATIENCE_S
            while not _has_ratings(replica, log) and time.monotonic() < give_up_at:
                time.sleep(0.05)
            time.sleep(seconds)
        finally:
            for process in (copier, rater):
                process.kill()
            killed_at = time.time()
            for process in (copier, rater):
                process.wait()
    began = time.monotonic()
    if status := litestream("restore", "-o", second, first).wait():
        raise RuntimeError(f"litestream restore ended with {status}.")
    restore_s = time.monotonic() - began
    told = dict(line.split() for line in log.read_text().splitlines(keepends=True) if line.endswith("\n"))
    with Store(second, create=False) as store:
        there = {rating.comment for rating in store.ratings.all(_ANSWER)}
        problems = store.maintenance.check()
    missing = {int(number): killed_at - float(at) for number, at in told.items() if number not in there}
    newest = max(map(int, there), default=-1)
    gaps = sum(number < newest for number in missing)
    oldest = max(missing.values(), default=0.0)
    return Loss(len(told), len(there), gaps, round(oldest, 3), round(restore_s, 3), problems)


def _has_ratings(replica: Path, log: Path) -> bool:
    """Whether a second copy followed the first acknowledged rating; the first may have begun before it."""
    line, ended, _ = log.read_text().partition("\n")
    if not ended:
        return False
    newer = 0
    for path in replica.rglob("*"):
        with suppress(FileNotFoundError):  # Litestream joins copies meanwhile
            newer += path.is_file() and path.stat().st_mtime > float(line.split()[1])
    return newer >= 2


def main(
    kills: Annotated[int, typer.Option(min=1, help="How often the first machine is lost.")] = 10,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the result.")] = None,
) -> None:
    """Measure how old the oldest acknowledged rating is that a standby lacks; it takes a minute.

    Example: python -m benchmarks.standby
    """
    rows, screen = [], Screen()
    for number in range(kills):
        with TemporaryDirectory() as folder:
            rows.append(asdict(lose_the_first(Path(folder), 4 + number / kills)))
        screen.say(str(rows[-1]))
    write_result(
        out, "standby", 0, {"rows": rows, "oldest_missing_s": max(row["oldest_missing_s"] for row in rows)}
    )


if __name__ == "__main__":
    typer.run(main)
