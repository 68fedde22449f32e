"""Back to the pair that served before: by hand, or because people and answers say that the new one is worse.

In: the store, an assistant. Out: the previous deployment active again and its adapter loaded. Place in the flow: after
a swap, from the command line and from `watch`. Does not judge: that is `regression`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from assistant.adapter_files import fingerprint
from assistant.server_file import ServerAddress
from assistant.serving import reconcile
from assistant.vllm_pool import VllmPool
from store import Store
from store.records import Deployment
from trainer.swapping.regression import regression

_LOOKED_AT = 500  # answers of each deployment, the newest


def roll_back(store: Store, data_dir: Path, assistant_id: str, reason: str) -> Deployment:
    """Raises StoreError when there is nothing to go back to; NoServer, VllmError, BadAdapter after it was noted."""
    deployment = store.rollback(assistant_id, reason)
    asyncio.run(_load(store, data_dir))
    return deployment


def worse_than_before(store: Store, assistant_id: str) -> str | None:
    """What is worse since the last swap; None also where the last change was a rollback, or the first deployment."""
    activations = store.activations(assistant_id)
    active = store.active(assistant_id)
    if active is None or active.run_id is None or len(activations) < 2:
        return None  # what a person put there is theirs to take back
    if activations[-1].reason.startswith("rollback"):
        return None
    run = store.run(active.run_id)
    dataset = store.dataset(run.dataset_id) if run.dataset_id is not None else None
    return regression(
        store.served_answers(activations[-2].deployment_id, _LOOKED_AT),
        store.served_answers(active.id, _LOOKED_AT),
        [example.completion for example in dataset.examples if example.approved] if dataset else [],
    )


async def _load(store: Store, data_dir: Path) -> None:
    address = ServerAddress.read(data_dir)
    pool = await VllmPool.connect(address.urls, address.key)
    try:
        await reconcile(store, pool, data_dir / "adapters", fingerprint(Path(address.model_dir)))
    finally:
        await pool.close()
