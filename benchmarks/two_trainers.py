"""Two trainers at once on one data directory, some of them stopped past their lease: one of them swaps, and one alone.

Real processes with the real lease, publishing, loading and activation, on a fake server; only the training between them
is left out. In every second trial the first trainer is stopped (SIGSTOP) at a random moment until the other one is
done, then wakes and goes on from where it was.

    python -m benchmarks.two_trainers --trials 200 --out benchmarks/results/two_trainers.json
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from assistant.adapter_files import BadAdapter, verify
from assistant.serving import MAX_RANK
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmClient, VllmError
from assistant.vllm_pool import VllmPool
from benchmarks import random_adapters
from benchmarks.faults.references import System
from benchmarks.faults.scene import ASSISTANT, FULL, Scene
from benchmarks.processes import FakeServer
from benchmarks.record import fail, write_result
from benchmarks.screen import Screen
from benchmarks.vllm_process import ModelDir, model_dir
from store import Store, StoreError
from store.errors import LeaseLost
from store.records import RunStatus
from trainer.lease import Lease, LeaseTaken

_BASE = "base hash"
_TTL_S = 1.5  # instead of 60: a renewal that a busy machine delays is not what is tried here
_GIVES_UP_AFTER_S = 20.0
_WITHIN_S = 0.4  # of a trainer's work, which takes about as long; a stop falls anywhere in it


@dataclass(frozen=True)
class Place:
    """Where two trainers meet."""

    data_dir: Path
    tokenizer: ChatTokenizer  # loaded once, before the trainers are forked
    url: str

    def store(self) -> Store:
        return Store(self.data_dir / "shorthand.sqlite")

    def scene(self, store: Store, pool: VllmPool) -> Scene:
        folders = self.data_dir / "adapters", self.data_dir / "templates"
        return Scene(store, pool, self.tokenizer, *folders, _BASE)

    def pool(self) -> VllmPool:
        return VllmPool([VllmClient(self.url)])


@dataclass
class Trials:
    """What the trials came to."""

    trials: int = 0
    stopped: int = 0
    stopped_with_the_lease: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    published_by_both: int = 0
    wrong: list[str] = field(default_factory=list)


def work(place: Place, activations: int, told: Connection) -> None:
    """A trainer: take the lease, unless another has swapped already; publish, load, swap. Says how it ended."""
    with place.store() as store:
        give_up_at = time.monotonic() + _GIVES_UP_AFTER_S
        while True:
            try:
                with Lease(store, ttl_s=_TTL_S) as lease:
                    told.send("has the lease")
                    told.send(asyncio.run(_swap(place, lease.store, activations)))
                return
            except LeaseTaken:
                if len(store.activations(ASSISTANT)) > activations or time.monotonic() > give_up_at:
                    told.send("was told that another is at work")
                    return
                time.sleep(0.02)
            except LeaseLost:
                told.send("lost its lease")
                return
            except (VllmError, StoreError, BadAdapter, OSError) as error:
                told.send(f"failed: {type(error).__name__}")
                return


async def _swap(place: Place, store: Store, activations: int) -> str:
    store.interrupt_running_runs("Another trainer has taken the lease.")
    if len(store.activations(ASSISTANT)) > activations:
        return "found it done"
    pool = place.pool()
    try:
        scene = place.scene(store, pool)
        candidate = scene.candidate(System("random-1", FULL[:1]))
        await scene.swap_to(candidate)
        store.finish_run(candidate.run_id or 0, RunStatus.PROMOTED, "", {})
    finally:
        await pool.close()
    return "swapped"


def try_often(place: Place, trials: int, seed: int, screen: Screen) -> Trials:
    """`place` has a server and templates already."""
    chance = random.Random(seed)
    toll = Trials()
    ends: Counter[str] = Counter()
    (place.data_dir / "adapters").mkdir(exist_ok=True)
    with place.store() as store:
        pool = place.pool()
        place.scene(store, pool)  # creates the assistant
        asyncio.run(pool.close())
    with screen.bar("trials") as bar:
        for number in range(trials):
            with place.store() as store:
                before = len(store.activations(ASSISTANT)), len(store.adapters(ASSISTANT))
            ended = _one_trial(place, before[0], number % 2 == 1, chance, toll)
            ends.update(ended)
            toll.trials += 1
            _look(place, before, ended, toll, check=number % 20 == 0 or number == trials - 1)
            bar(number + 1, trials)
    toll.ends = dict(ends.most_common())
    return toll


def _one_trial(place: Place, activations: int, stop: bool, chance: random.Random, toll: Trials) -> list[str]:
    """How both trainers ended, each in words."""
    context = multiprocessing.get_context("fork")
    ears, children = [], []
    for _ in range(2):
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=work, args=(place, activations, theirs), daemon=True)
        child.start()
        theirs.close()
        ears.append(ours)
        children.append(child)
    first = _who_has_it(ears)
    pid = children[first].pid
    if stop and pid is not None:
        time.sleep(chance.uniform(0.0, _WITHIN_S))
        toll.stopped += 1
        # Not asked of the store: the one who is stopped may hold the lock of the file.
        toll.stopped_with_the_lease += not ears[first].poll()
        os.kill(pid, signal.SIGSTOP)
        try:
            children[1 - first].join(_GIVES_UP_AFTER_S)
        finally:
            os.kill(pid, signal.SIGCONT)
    for child in children:
        child.join(2 * _GIVES_UP_AFTER_S)
        if child.is_alive():
            child.kill()
    return [_last_word(ear) for ear in ears]


def _who_has_it(ears: list[Connection]) -> int:
    """Which of the two said first that it has the lease."""
    while True:
        for number, ear in enumerate(ears):
            if ear.poll(0.002):
                ear.recv()
                return number


def _last_word(ear: Connection) -> str:
    said = "said nothing"
    try:
        while ear.poll():
            said = str(ear.recv())
    except EOFError:
        pass
    return said


def _look(place: Place, before: tuple[int, int], ended: list[str], toll: Trials, check: bool) -> None:
    at = f"trial {toll.trials} ({'; '.join(ended)})"
    with place.store() as store:
        swaps = len(store.activations(ASSISTANT)) - before[0]
        published = [adapter.name for adapter in store.adapters(ASSISTANT)[before[1] :]]
        active = store.active(ASSISTANT)
        toll.published_by_both += len(published) > 1
        if swaps != 1 or ended.count("swapped") != 1:
            toll.wrong.append(f"{at}: {swaps} swaps")
        if active is None or active.adapter not in published:
            toll.wrong.append(f"{at}: {active and active.adapter} is active, {published} were published")
        elif active.adapter is not None:
            try:
                verify(place.data_dir / "adapters" / active.adapter, _BASE, MAX_RANK)
            except BadAdapter as error:
                toll.wrong.append(f"{at}: {error}")
        if any(run.status is RunStatus.RUNNING for run in store.runs(ASSISTANT)):
            toll.wrong.append(f"{at}: a run is left running")
        known = {adapter.name for adapter in store.adapters(ASSISTANT)}
        if left := {path.name for path in (place.data_dir / "adapters").iterdir()} - known:
            toll.wrong.append(f"{at}: nobody noted {sorted(left)}")
        if check:
            toll.wrong += store.check()


def main(
    trials: Annotated[int, typer.Option(min=1)] = 200,
    seed: Annotated[int, typer.Option(help="Of when a trainer is stopped.")] = 1,
    model: ModelDir = None,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the result.")] = None,
) -> None:
    """Let two trainers loose on one data directory, again and again.

    Example: python -m benchmarks.two_trainers --trials 200 --out benchmarks/results/two_trainers.json
    """
    screen, began = Screen(), time.monotonic()
    with TemporaryDirectory() as folder, FakeServer() as server:
        place = Place(Path(folder), ChatTokenizer.load(model_dir(Path(folder), model)), server.url)
        random_adapters.make_small(place.data_dir / "templates", 1, _BASE)
        toll = try_often(place, trials, seed, screen)
    screen.say(
        f"{toll.trials} trials, in {toll.stopped} one of the two was stopped, in {toll.stopped_with_the_lease} "
        f"while it had the lease. Both published in {toll.published_by_both}. Wrong: {len(toll.wrong)}. {toll.ends}"
    )
    seconds = round(time.monotonic() - began, 1)
    write_result(out, "two_trainers", seed, {**vars(toll), "seconds": seconds})
    if toll.wrong:
        fail("\n".join(toll.wrong), 1)


if __name__ == "__main__":
    typer.run(main)
