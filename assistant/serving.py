"""What the store says is active against what the servers have loaded.

In: the store, the pool, the adapters' directory. Out: servers that have the active adapter of every
assistant, loaded only after its files were verified. Place in the flow: at start, after a vLLM restart, and
in a hot swap. Does not know how adapters are trained or chosen.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from assistant.adapter_files import verify
from assistant.vllm_pool import VllmPool
from store import Store
from store.records import Deployment

MAX_RANK = 16  # what the server is started for: its kernels pad every adapter to it; see TrainerSettings.rank
# Two deployments of the active assistant (active, previous), one candidate, and a spare. vLLM frees a slot only when it
# needs it for another adapter, least recently used first.
LORA_SLOTS = 4


async def load_deployment(pool: VllmPool, deployment: Deployment, adapters: Path, base: str) -> None:
    """Verify the deployment's adapter and load it on every server; raises BadAdapter or VllmError."""
    if deployment.adapter is None:
        return
    await asyncio.to_thread(verify, adapters / deployment.adapter, base, MAX_RANK)
    await pool.load_adapter(deployment.adapter, str((adapters / deployment.adapter).resolve()))


async def reconcile(store: Store, pool: VllmPool, adapters: Path, base: str) -> list[str]:
    """Load what is active for every assistant; returns the names. Raises BadAdapter or VllmError."""
    loaded = []
    for assistant in store.assistants():
        deployment = store.active(assistant.id)
        if deployment is not None and deployment.adapter is not None:
            await load_deployment(pool, deployment, adapters, base)
            loaded.append(deployment.adapter)
    return loaded
