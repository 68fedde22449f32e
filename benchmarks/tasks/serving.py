"""The app as it serves one task: pools of its servers with the active adapter loaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from assistant.adapter_files import fingerprint
from assistant.assistants import create_assistant
from assistant.chat import Chat, ChatLimits
from assistant.health import is_healthy
from assistant.serving import ServerAddress, load_deployment
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmUnreachable
from assistant.vllm_pool import VllmPool
from benchmarks.tasks.task import Task
from store import Store
from store.errors import NotFound

_HEALTHY_WITHIN_S = 180.0  # the app starts a vLLM that died again, which takes a minute on two cores
_LOOK_S = 2.0
_LOOKS = 5


class Serving:
    """The servers of a data directory, with what is needed to chat and to measure."""

    def __init__(self, data_dir: Path, store: Store):
        """Raises NoServer, TokenizerError."""
        self.data_dir, self.store = data_dir, store
        self.address = ServerAddress.read(data_dir)
        self.model_dir = Path(self.address.model_dir)
        self.tokenizer = ChatTokenizer.load(self.model_dir)
        self.base = fingerprint(self.model_dir)
        self.adapters = data_dir / "adapters"

    def create_assistant(self, task: Task, assistant_id: str) -> None:
        """The task's assistant, unless an earlier start has created it."""
        try:
            self.store.assistants.get(assistant_id)
        except NotFound:
            create_assistant(
                self.store, self.tokenizer, task.name, task.scorer, task.prompt, assistant_id=assistant_id
            )

    @asynccontextmanager
    async def pool(self, assistant_id: str) -> AsyncIterator[VllmPool]:
        """Connections for the running event loop, once the active adapter is loaded; raises VllmError, BadAdapter."""
        pool = await self._connect()
        try:
            await self._load_active(pool, assistant_id)
            yield pool
        finally:
            await pool.close()

    async def _connect(self) -> VllmPool:
        """The app starts a server that died again; until then nothing answers."""
        waited = 0.0
        while True:
            try:
                return await VllmPool.connect(self.address.urls, self.address.key)
            except VllmUnreachable:
                if waited >= _HEALTHY_WITHIN_S:
                    raise
            await asyncio.sleep(_LOOK_S)
            waited += _LOOK_S

    async def _load_active(self, pool: VllmPool, assistant_id: str) -> None:
        active = self.store.deployments.active(assistant_id)
        if active is None or active.adapter is None:
            return
        for _ in range(_LOOKS):  # the app loads it itself, soon after its server is up
            if active.adapter in await pool.models():
                return
            await asyncio.sleep(_LOOK_S)
        await load_deployment(pool, active, self.adapters, self.base)

    def chat(self, pool: VllmPool) -> Chat:
        """As `app.py` makes it for the page."""
        limits = ChatLimits(self.address.context)
        return Chat(self.store, pool, self.tokenizer, self.base, self.adapters, limits)


async def until_healthy(pool: VllmPool, within_s: float = _HEALTHY_WITHIN_S) -> bool:
    """Wait for servers that are away; at least a moment, so that a retry is not at once."""
    waited = 0.0
    while waited < within_s:
        await asyncio.sleep(_LOOK_S)
        waited += _LOOK_S
        if all(is_healthy(client.url) for client in pool.each()):
            return True
    return False
