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

from assistant.adapter_files import BadAdapter
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmError
from benchmarks import random_adapters
from benchmarks.faults.ledger import bad_adapter
from benchmarks.faults.people import Where
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

BASE = "base hash"
_TTL_S = 1.5  # instead of 60: a renewal that a busy machine delays is not what is tried here
_GIVES_UP_AFTER_S = 20.0
_WITHIN_S = 0.4  # of a trainer's work, which takes about as long; a stop falls anywhere in it


@dataclass
class Trials:
    """What the trials came to."""

    trials: int = 0
    stopped: int = 0
    stopped_with_the_lease: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    published_by_both: int = 0
    wrong: list[str] = field(default_factory=list)


def work(where: Where, activations: int, events: Connection) -> None:
    """A trainer: take the lease, unless another has swapped already; publish, load, swap. Sends how it ended."""
    with where.store() as store:
        give_up_at = time.monotonic() + _GIVES_UP_AFTER_S
        while True:
            try:
                with Lease(store, ttl_s=_TTL_S) as lease:
                    events.send("has the lease")
                    events.send(asyncio.run(_swap(where, lease.store, activations)))
                return
            except LeaseTaken:
                if (
                    len(store.deployments.activations(ASSISTANT)) > activations
                    or time.monotonic() > give_up_at
                ):
                    return events.send("was refused: another is at work")
                time.sleep(0.02)
            except LeaseLost:
                return events.send("lost its lease")
            except (VllmError, StoreError, BadAdapter, OSError) as error:
                return events.send(f"failed: {type(error).__name__}")


async def _swap(where: Where, store: Store, activations: int) -> str:
    store.runs.interrupt_running("Another trainer has taken the lease.")
    if len(store.deployments.activations(ASSISTANT)) > activations:
        return "found it done"
    async with where.pool() as pool:
        scene = Scene(store, pool, where.tokenizer, where.adapters, where.templates, where.base)
        candidate = scene.candidate(System("random-1", FULL[:1]))
        await scene.swap_to(candidate)
        store.runs.finish(candidate.run_id or 0, RunStatus.PROMOTED, "", {})
    return "swapped"


def try_often(where: Where, trials: int, seed: int, screen: Screen) -> Trials:
    """`where` has a server and random adapters already."""
    chance = random.Random(seed)
    found = Trials()
    where.create_assistant()
    with screen.bar("trials") as bar:
        for number in range(trials):
            with where.store() as store:
                before = len(store.deployments.activations(ASSISTANT)), len(store.adapters.all(ASSISTANT))
            ends = _one_trial(where, before[0], number % 2 == 1, chance, found)
            found.ends.update(ends)
            found.trials += 1
            _check(where, before, ends, found, whole_file=number % 20 == 0 or number == trials - 1)
            bar(number + 1, trials)
    return found


def _one_trial(where: Where, activations: int, stop: bool, chance: random.Random, found: Trials) -> list[str]:
    """How both trainers ended, each in words."""
    context = multiprocessing.get_context("fork")
    pipes, children = [], []
    for _ in range(2):
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=work, args=(where, activations, theirs), daemon=True)
        child.start()
        theirs.close()
        pipes.append(ours)
        children.append(child)
    first = _first_with_the_lease(pipes)
    pid = children[first].pid
    if stop and pid is not None:
        time.sleep(chance.uniform(0.0, _WITHIN_S))
        found.stopped += 1
        # Not asked of the store: the one who is stopped may hold the lock of the file.
        found.stopped_with_the_lease += not pipes[first].poll()
        os.kill(pid, signal.SIGSTOP)
        try:
            children[1 - first].join(_GIVES_UP_AFTER_S)
        finally:
            os.kill(pid, signal.SIGCONT)
    for child in children:
        child.join(2 * _GIVES_UP_AFTER_S)
        if child.is_alive():
            child.kill()
    return [_last_event(pipe) for pipe in pipes]


def _first_with_the_lease(pipes: list[Connection]) -> int:
    while True:
        for number, pipe in enumerate(pipes):
            if pipe.poll(0.002):
                pipe.recv()
                return number


def _last_event(pipe: Connection) -> str:
    event = "sent nothing"
    try:
        while pipe.poll():
            event = str(pipe.recv())
    except EOFError:
        pass
    return event


def _check(where: Where, before: tuple[int, int], ends: list[str], found: Trials, whole_file: bool) -> None:
    wrong: list[str] = []
    with where.store() as store:
        swaps = len(store.deployments.activations(ASSISTANT)) - before[0]
        published = [adapter.name for adapter in store.adapters.all(ASSISTANT)[before[1] :]]
        active = store.deployments.active(ASSISTANT)
        found.published_by_both += len(published) > 1
        if swaps != 1 or ends.count("swapped") != 1:
            wrong.append(f"{swaps} swaps")
        if active is None or active.adapter not in published:
            wrong.append(f"{active and active.adapter} is active, {published} were published")
        wrong += bad_adapter(active, where.adapters, where.base)
        if any(run.status is RunStatus.RUNNING for run in store.runs.all(ASSISTANT)):
            wrong.append("a run is left running")
        known = {adapter.name for adapter in store.adapters.all(ASSISTANT)}
        if left := {path.name for path in where.adapters.iterdir()} - known:
            wrong.append(f"{sorted(left)} is not in the store")
        wrong += store.maintenance.check() if whole_file else []
    found.wrong += [f"trial {found.trials} ({'; '.join(ends)}): {line}" for line in wrong]


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
        tokenizer = ChatTokenizer.load(model_dir(Path(folder), model))
        where = Where(Path(folder), tokenizer, BASE, server.url)
        random_adapters.make_small(where.templates, 1, BASE)
        found = try_often(where, trials, seed, screen)
    screen.say(
        f"{found.trials} trials, in {found.stopped} one of the two was stopped, in {found.stopped_with_the_lease} "
        f"while it had the lease. Both published in {found.published_by_both}. Wrong: {len(found.wrong)}. {found.ends}"
    )
    write_result(out, "two_trainers", seed, {**vars(found), "seconds": round(time.monotonic() - began, 1)})
    if found.wrong:
        fail("\n".join(found.wrong), 1)


if __name__ == "__main__":
    typer.run(main)
