"""A process that swaps and rolls back all the time, as a trainer does after its gate: to be killed.

Lease, publishing, loading, activation and unloading are the product's own. It sends a `Saved` before each step and
after each swap.
"""

from __future__ import annotations

import asyncio
import random
import time
from multiprocessing.connection import Connection
from pathlib import Path

from assistant.adapter_files import BadAdapter
from assistant.vllm_client import VllmError
from benchmarks.faults.ledger import Saved
from benchmarks.faults.people import Where
from benchmarks.faults.references import System
from benchmarks.faults.scene import ASSISTANT, FULL, Scene
from store import StoreError
from store.records import RunStatus
from trainer.lease import Lease, LeaseTaken

_ROLLED_BACK = 0.2


def swap_all_the_time(
    where: Where, templates: Path, weights: list[str], pause_s: float, seed: int, told: Connection
) -> None:
    """Until it is killed."""
    chance = random.Random(seed)
    with where.store() as store:
        while True:
            time.sleep(chance.uniform(0, 2 * pause_s))
            try:
                with Lease(store) as lease:
                    asyncio.run(_one(where, lease, templates, weights, chance, told))
            except (VllmError, StoreError, BadAdapter, LeaseTaken, OSError) as error:
                told.send(Saved("said why", str(error)[:300]))
                time.sleep(0.2)


async def _one(
    where: Where, lease: Lease, templates: Path, weights: list[str], chance: random.Random, told: Connection
) -> None:
    store = lease.store
    store.interrupt_running_runs("The training process was killed or crashed during this run.")
    pool = where.pool()
    try:
        scene = Scene(store, pool, where.tokenizer, where.adapters, templates, where.base)
        active = store.active(ASSISTANT)
        if active is not None and active.adapter is not None and chance.random() < _ROLLED_BACK:
            told.send(Saved("step", "roll back"))
            deployment = await scene.roll_back()
        else:
            told.send(Saved("step", "publish"))
            candidate = scene.candidate(System(chance.choice(weights), FULL[: chance.randint(0, 2)]))
            told.send(Saved("step", "swap"))
            deployment = await scene.swap_to(candidate)
            store.finish_run(candidate.run_id or 0, RunStatus.PROMOTED, "", {})
        told.send(Saved("swap", str(deployment.id)))
        told.send(Saved("step", "rest"))
    finally:
        await pool.close()
