"""Where the servers are, and what they must have loaded: the active adapter of every assistant."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from assistant.adapter_files import verify
from assistant.vllm_pool import VllmPool
from store import Store
from store.records import Deployment

MAX_RANK = 16  # what the server is started for: its kernels pad every adapter to it; see TrainerSettings.rank
# Two deployments of the active assistant (active, previous), one candidate, and a spare. vLLM frees a slot only when it
# needs it for another adapter, least recently used first.
LORA_SLOTS = 4
_NAME = "server.json"


class NoServer(Exception):
    """No app has left an address in this data directory; the message says how to start one."""


@dataclass(frozen=True)
class ServerAddress:
    """Servers of one model for the other processes of a data directory: addresses as `vllm_client` takes them, their
    key, the model's directory on this machine, and its context in tokens.
    """

    urls: tuple[str, ...]
    key: str | None
    model_dir: str
    context: int

    def write(self, data_dir: Path) -> None:
        """Write `server.json`, readable by its owner alone since it may hold a key."""
        aside = data_dir / f".{_NAME}"
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.fchmod(descriptor, 0o600)  # one that was left behind keeps its own mode
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(self))
        os.replace(aside, data_dir / _NAME)

    @classmethod
    def read(cls, data_dir: Path) -> ServerAddress:
        try:
            return msgspec.json.decode((data_dir / _NAME).read_bytes(), type=cls)
        except (OSError, ValueError) as error:
            raise NoServer(
                f"No server is known in {data_dir}. Start the app there first: python app.py --data-dir {data_dir}"
            ) from error


async def prepare(store: Store, pool: VllmPool, address: ServerAddress, adapters: Path, base: str) -> None:
    """Make servers that have just come up ready for chat; `pool` learns the name of their base model.

    Raises BadAdapter or VllmError.
    """
    # Connections belong to an event loop: `pool` has that of the page, and this runs in another.
    fresh = await VllmPool.connect(address.urls, address.key)
    try:
        pool.base = fresh.base
        await reconcile(store, fresh, adapters, base)
        for client in fresh.each():  # the first token takes 12 s on an idle machine
            await client.greedy(fresh.base, (1,), 1)
    finally:
        await fresh.close()


async def load_deployment(pool: VllmPool, deployment: Deployment, adapters: Path, base: str) -> None:
    """Verify the deployment's adapter and load it on every server; raises BadAdapter or VllmError."""
    if deployment.adapter is None:
        return
    await asyncio.to_thread(verify, adapters / deployment.adapter, base, MAX_RANK)
    await pool.load_adapter(deployment.adapter, str((adapters / deployment.adapter).resolve()))


async def reconcile(store: Store, pool: VllmPool, adapters: Path, base: str) -> list[str]:
    """Load what is active for every assistant; returns the names. Raises BadAdapter or VllmError.

    For a start, a vLLM that was started again, and a rollback: the store says what is active.
    """
    loaded = []
    for assistant in store.assistants.all():
        deployment = store.deployments.active(assistant.id)
        if deployment is not None and deployment.adapter is not None:
            await load_deployment(pool, deployment, adapters, base)
            loaded.append(deployment.adapter)
    return loaded
