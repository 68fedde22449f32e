"""Where the servers are, and what they must have loaded: the active adapter of every assistant."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from assistant.adapter_files import BadAdapter, verify
from assistant.rendering import keep, render
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmRefused
from assistant.vllm_pool import VllmPool
from store import Store
from store.records import Deployment, Role

MAX_RANK = 16  # what the server is started for: its kernels pad every adapter to it; see TrainerSettings.rank
# Two deployments of the active assistant (active, previous), one candidate, and a spare. vLLM frees a slot only when it
# needs it for another adapter, least recently used first.
LORA_SLOTS = 4
# Prompts are computed for so long before servers are said to be ready; those of further assistants with their first
# questions. One of 933 tokens takes the embedded model 4 s.
_WARM_S = 10.0
_NAME = "server.json"


class NoServer(Exception):
    """No app has left an address in this data directory; the message says how to start one."""


@dataclass(frozen=True)
class ServerAddress:
    """Servers of one model for the other processes of a data directory: addresses as `vllm_client` takes them, their
    key, the model's directory on this machine, its context in tokens, the embedding model's directory, and the tokens
    of the longest answer.
    """

    urls: tuple[str, ...]
    key: str | None
    model_dir: str
    context: int
    embedding_model: str
    answer_tokens: int

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


async def prepare(
    store: Store,
    pool: VllmPool,
    address: ServerAddress,
    adapters: Path,
    base: str,
    tokenizer: ChatTokenizer,
) -> None:
    """Make servers that have just come up ready for chat; `pool` learns the name and the context of their base model.

    Raises VllmError.
    """
    # Connections belong to an event loop: `pool` has that of the page, and this runs in another.
    fresh = await VllmPool.connect(address.urls, address.key)
    try:
        others = {client.url for client in pool.each()} - pool.away - set(address.urls)
        if others and fresh.base != pool.base:
            raise VllmRefused(f"It serves {fresh.base}, the other servers {pool.base}. Start them alike.")
        served = await reconcile(store, fresh, adapters, base)
        if others and (lacking := fresh.lost.keys() - pool.lost.keys()):
            raise VllmRefused(fresh.lost[min(lacking)])  # the others go on with it, and without this server
        for client in fresh.each():  # the first token takes 12 s on an idle machine
            await client.greedy(fresh.base, (1,), 1)
        until = time.monotonic() + _WARM_S
        for deployment in served:
            if time.monotonic() < until:
                with suppress(VllmRefused):  # such as a prompt without room: it says so when it is asked
                    await warm(store, fresh, tokenizer, deployment)
        contexts = [fresh.context, pool.context if others else None]
        pool.context = min(filter(None, contexts), default=None)
        pool.base, pool.lost = fresh.base, fresh.lost
    finally:
        await fresh.close()


async def load_deployment(pool: VllmPool, deployment: Deployment, adapters: Path, base: str) -> None:
    """Verify the deployment's adapter and load it on every server; raises BadAdapter or VllmError."""
    if deployment.adapter is None:
        return
    await asyncio.to_thread(verify, adapters / deployment.adapter, base, MAX_RANK)
    await pool.load_adapter(deployment.adapter, str((adapters / deployment.adapter).resolve()))


async def warm(store: Store, pool: VllmPool, tokenizer: ChatTokenizer, deployment: Deployment) -> None:
    """Compute the deployment's prompt on every server, so that nobody waits for it later; raises VllmError."""
    segments = keep(store.prompts.get(deployment.prompt_id).segments, deployment.segment_ids)
    ids, name = render(tokenizer, segments, ((Role.USER, "Hello"),)).ids, deployment.adapter or pool.base
    await pool.on_each(lambda one: one.complete(name, ids, max_tokens=1, end_ids=tokenizer.end_ids))


async def reconcile(store: Store, pool: VllmPool, adapters: Path, base: str) -> list[Deployment]:
    """Load what is active for every assistant, and return it. Raises VllmError where no server answers.

    For a start, and a vLLM that was started again: the store says what is active. An assistant whose adapter cannot be
    loaded does not keep the others waiting: the base model serves it.
    """
    active = [store.deployments.active(assistant.id) for assistant in store.assistants.all()]
    return [await load_or_lose(store, pool, one, adapters, base) for one in active if one is not None]


async def load_or_lose(
    store: Store, pool: VllmPool, deployment: Deployment, adapters: Path, base: str
) -> Deployment:
    """The deployment, loaded; where that is impossible the base model with its full prompt, and `pool.lost` says why.

    Raises VllmUnreachable.
    """
    try:
        await load_deployment(pool, deployment, adapters, base)
    except (BadAdapter, VllmRefused, OSError) as error:
        name = store.assistants.get(deployment.assistant_id).name
        pool.lost[deployment.adapter or ""] = (
            f"{name}: its adapter cannot be loaded, so the base model answers with the full prompt. {error} "
            "Put it back from a backup and restart, or roll back on the Training page."
        )
        return store.deployments.without_adapter(deployment)
    return deployment
