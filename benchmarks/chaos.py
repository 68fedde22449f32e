"""kill -9 of the chat, the trainer and vLLM at random moments: nothing acknowledged is lost, and all is ready again.

People chat and rate in one process, another publishes, swaps and rolls back under the trainer's lock, and both talk to
a server: the fake one of the tests, or with `--real` vLLM under `python app.py`. After each kill the victim is started
again as it always is, and everything that was acknowledged since the kill before is looked up.
"""

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from benchmarks.faults.worlds import FakeWorld, RealWorld, World
from benchmarks.record import Screen, fail, write_result
from benchmarks.serving import Layers, ModelDir, model_dir

_READY_WITHIN_S = 600.0
_SLACK_S = 5.0  # beyond what a first start took
_CHECK_EVERY = 20


@dataclass
class Kills:
    """Kills by victim and by what the swapping process was doing; seconds until people were answered again."""

    by_victim: Counter[str] = field(default_factory=Counter)
    during: Counter[str] = field(default_factory=Counter)
    ready_s: dict[str, list[float]] = field(default_factory=dict)
    too_slow: list[str] = field(default_factory=list)

    def kill(self, world: World, victim: str) -> float:
        """Seconds until it is at work again; raises AppFailed."""
        world.kill(victim)
        self.by_victim[victim] += 1
        self.during[world.ledger.step] += 1
        return self.start_again(world, victim)

    def start_again(self, world: World, name: str) -> float:
        """Seconds until it is at work again; raises AppFailed."""
        ready, first = world.start_again(name, _READY_WITHIN_S), world.start_s[name]
        self.ready_s.setdefault(name, []).append(round(ready, 2))
        if ready > first + _SLACK_S:
            self.too_slow.append(f"{name}: ready after {ready:.1f} s, it started in {first:.1f} s")
        return ready


def kill_often(world: World, kills: int, pause_s: float, seed: int, screen: Screen) -> Kills:
    """`world` runs already. Raises AppFailed where it is not ready again."""
    chance = random.Random(seed)
    found = Kills()
    with screen.status("kills") as status:
        for number in range(kills):
            time.sleep(chance.uniform(0.0, pause_s))
            world.receive()
            victim = chance.choice(world.victims)
            ready = found.kill(world, victim)
            world.check(whole_file=number % _CHECK_EVERY == 0)
            status(f"{number + 1} of {kills}, {victim} ready after {ready:.1f} s")
    return found


def record_of(world: World, found: Kills) -> dict[str, Any]:
    return {
        "kills": sum(found.by_victim.values()),
        "by_victim": dict(found.by_victim),
        "while_the_trainer_did": dict(found.during),
        **world.ledger.as_record(),
        "first_start_s": {name: round(seconds, 2) for name, seconds in world.start_s.items()},
        "ready_again_s": {
            name: {"median": sorted(times)[len(times) // 2], "slowest": max(times)}
            for name, times in found.ready_s.items()
        },
        "slower_than_the_start_and_5_s": found.too_slow,
    }


def main(
    kills: Annotated[int, typer.Option(min=1)] = 300,
    real: Annotated[bool, typer.Option("--real", help="The app and vLLM instead of a fake server.")] = False,
    pause: Annotated[float, typer.Option("--lives", help="Most seconds between two kills.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of who is killed when.")] = 1,
    model: ModelDir = None,
    layers: Layers = None,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the result.")] = None,
) -> None:
    """Kill one process after the other, and look for what was acknowledged.

    Example: python -m benchmarks.chaos --kills 300 --out benchmarks/results/chaos.json
    """
    screen, began = Screen(), time.monotonic()
    with TemporaryDirectory() as folder:
        make = RealWorld if real else FakeWorld
        with make(Path(folder), model_dir(Path(folder), model, layers), seed) as world:
            found = kill_often(world, kills, pause, seed, screen)
            world.finish()
    record = record_of(world, found) | {"seconds": round(time.monotonic() - began, 1)}
    for name, value in record.items():
        screen.say(f"{name}: {value}")
    write_result(out, "chaos", seed, {"real": real, **record})
    if not world.ledger.sound:
        fail("Something acknowledged was lost, or is not as it should be.", 1)


if __name__ == "__main__":
    typer.run(main)
