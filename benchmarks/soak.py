"""Hours of everything at once: people who chat and rate, retrains, swaps, rollbacks, and now and then a kill -9.

`python app.py` runs with its own vLLM and its own trainer, and people and further swaps beside it. Recorded is whether
people were answered again after every kill, what each process holds on to, and every message about a locked store.
"""

import os
import random
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import psutil
import typer

from benchmarks.chaos import Kills, record_of
from benchmarks.faults.scene import ASSISTANT
from benchmarks.faults.worlds import TRAINER, RealWorld, World
from benchmarks.processes import AppFailed
from benchmarks.record import Screen, fail, write_result
from benchmarks.serving import Layers, ModelDir, model_dir
from store.records import RunStatus

_POLL_S = 5.0
_WRITE_S = 60.0
_FEWEST_SAMPLES = 24  # two minutes: a shorter life says nothing about growth
_WARM_UP = 0.25  # of the samples: caches fill up and connections are opened
_MOST_RUNS = 100_000
# Small enough for a run of some minutes; whether the gate lets it pass is not what a soak is about. Nothing is
# retrained but on request: a retrain and the process that swaps beside it would wait for each other's lock.
SETTINGS = "epochs=1 newest_answers=60 min_train=10 min_gate=10 max_answer_tokens=12 retrain_after=1000000"


class Footprints:
    """Samples of processes, oldest first: resident memory in MiB without what is shared, and open handles."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], list[tuple[float, int]]] = defaultdict(list)

    def sample(self, processes: Mapping[str, int]) -> None:
        for name, pid in processes.items():
            try:
                process = psutil.Process(pid)
                memory, handles = process.memory_info(), process.num_fds()
            except psutil.Error:  # it has ended
                continue
            self._found[name, pid].append(((memory.rss - memory.shared) / 2**20, handles))

    def as_record(self) -> dict[str, Any]:
        """Those with samples enough; one that was replaced begins anew under its name and a number."""
        counts: Counter[str] = Counter()
        record = {}
        for (name, _), samples in self._found.items():
            if len(samples) >= _FEWEST_SAMPLES:
                counts[name] += 1
                mib, handles = zip(*samples, strict=True)
                growth = {"samples": len(samples), "mib": _growth(mib), "handles": _growth(handles)}
                record[name if counts[name] == 1 else f"{name}, start {counts[name]}"] = growth
        return record


def _growth(samples: Sequence[float]) -> dict[str, float]:
    """After the warm-up: medians of the first and of the last quarter of the samples, and the growth in percent."""
    values = samples[int(len(samples) * _WARM_UP) :]
    quarter = max(1, len(values) // 4)
    first, last = statistics.median(values[:quarter]), statistics.median(values[-quarter:])
    return {
        "first": round(first, 1),
        "last": round(last, 1),
        "most": round(max(values), 1),
        "growth_percent": round(100 * (last / first - 1), 2) if first else 0.0,
    }


@dataclass
class Progress:
    """How far a soak got."""

    began: float
    kills: Kills = field(default_factory=Kills)
    footprints: Footprints = field(default_factory=Footprints)
    died: list[str] = field(default_factory=list)
    not_recovered: list[str] = field(default_factory=list)
    requested: int = 0
    retraining: bool = False


class SoakedWorld(RealWorld):
    """With the app's own trainer, which retrains on request."""

    options = ()


def soak(
    world: World,
    seconds: float,
    kill_every_s: float,
    retrain_every_s: float,
    seed: int,
    after_each: Callable[[Progress], None],
) -> Progress:
    """`world` runs already; ends early where it does not recover."""
    chance = random.Random(seed)
    progress = Progress(time.monotonic())
    next_kill, next_retrain = kill_every_s, retrain_every_s
    try:
        while (now := time.monotonic() - progress.began) < seconds:
            time.sleep(min(_POLL_S, seconds))
            world.receive()
            progress.footprints.sample(world.processes())
            for name in world.died():
                progress.died.append(f"{name} after {now / 60:.1f} minutes")
                progress.kills.start_again(world, name)
            if progress.retraining and _retrained(world, progress):
                progress.retraining = False
                progress.kills.start_again(world, TRAINER)
            elif now >= next_retrain and not progress.retraining:
                _request_retrain(world, progress)
                next_retrain = now + retrain_every_s
            elif now >= next_kill and not progress.retraining:
                progress.kills.kill(world, chance.choice(world.victims))
                next_kill += kill_every_s
            world.check(whole_file=False)
            after_each(progress)
    except AppFailed as error:
        progress.not_recovered.append(str(error))
    world.finish()
    return progress


def _request_retrain(world: World, progress: Progress) -> None:
    world.pause(TRAINER)  # there is one lock: it swaps again when the retrain is done
    with world.where.store() as store:
        store.runs.request(ASSISTANT, "soak")
    progress.requested += 1
    progress.retraining = True


def _retrained(world: World, progress: Progress) -> bool:
    with world.where.store() as store:
        runs = [run for run in store.runs.all(ASSISTANT, _MOST_RUNS) if run.trigger == "soak"]
    return len(runs) >= progress.requested and runs[0].status is not RunStatus.RUNNING


def record(world: World, progress: Progress) -> dict[str, Any]:
    with world.where.store() as store:
        runs = [run for run in store.runs.all(ASSISTANT, _MOST_RUNS) if not run.trigger.startswith("swap to")]
        rollbacks = sum(
            item.reason.startswith("rollback") for item in store.deployments.activations(ASSISTANT)
        )
    return {
        "minutes": round((time.monotonic() - progress.began) / 60, 1),
        **record_of(world, progress.kills),
        "answers": world.ledger.acknowledged["answered"],
        "rollbacks": rollbacks,
        "retrains_requested": progress.requested,
        "retrains": [f"{run.status.value}: {run.message}" for run in reversed(runs)],
        "ended_by_themselves": progress.died,
        "not_recovered": progress.not_recovered,
        "processes": progress.footprints.as_record(),
    }


def main(
    hours: Annotated[float | None, typer.Option(help="How long.")] = None,
    minutes: Annotated[float | None, typer.Option(help="How long, instead of hours.")] = None,
    kill_every: Annotated[float, typer.Option(help="Seconds between two kills.")] = 180.0,
    retrain_every: Annotated[
        float,
        typer.Option(
            help="Seconds between two requests to retrain; nobody is killed until a retrain has ended."
        ),
    ] = 600.0,
    seed: Annotated[int, typer.Option(help="Of who is killed.")] = 1,
    model: ModelDir = None,
    layers: Layers = None,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the result.")] = None,
) -> None:
    """Let everything run at once for hours, with a kill now and then.

    Example: python -m benchmarks.soak --minutes 10
    """
    if (hours is None) == (minutes is None):
        fail("Say how long: --hours 8, or --minutes 10.")
    seconds = 3600.0 * (hours or 0.0) + 60.0 * (minutes or 0.0)
    os.environ["SHORTHAND_SET"] = SETTINGS
    screen = Screen()
    with (
        TemporaryDirectory() as folder,
        SoakedWorld(Path(folder), model_dir(Path(folder), model, layers), seed) as world,
    ):
        written = 0.0
        with screen.status("soak") as status:

            def after_each(progress: Progress) -> None:
                nonlocal written
                now = time.monotonic() - progress.began
                status(
                    f"{now / 60:.0f} of {seconds / 60:.0f} minutes, {world.ledger.acknowledged['answered']} answers"
                )
                if now - written >= _WRITE_S:
                    written = now
                    write_result(out, "soak", seed, record(world, progress))

            progress = soak(world, seconds, kill_every, retrain_every, seed, after_each)
        found = record(world, progress)
    write_result(out, "soak", seed, found)
    for name, value in found.items():
        screen.say(f"{name}: {value}")
    if not world.ledger.sound or progress.not_recovered:
        fail("Something was lost, or did not recover.", 1)


if __name__ == "__main__":
    typer.run(main)
