"""Processes to be killed: one in which several people chat and rate, and one that swaps and rolls back all the time.

Both use the product's own ways: the chat path; lock, publishing, loading, activation and unloading. Each sends a
`Saved` after everything that a person was told is saved, and the swapping one before each of its steps.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from assistant.adapter_files import BadAdapter
from assistant.chat import Chat
from assistant.external_servers import ExternalServers
from assistant.limits import ChatError, ChatLimits
from assistant.serving import reconcile
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmClient, VllmError
from assistant.vllm_health import Phase
from assistant.vllm_pool import VllmPool
from benchmarks.faults.ledger import Saved, digest
from benchmarks.faults.references import System, questions
from benchmarks.faults.scene import ASSISTANT, FULL, Scene
from store import Store, StoreError
from store.lock import TRAINING, Lock, LockTaken
from store.records import MessageStatus, RunStatus, Verdict

_ANSWER_TOKENS = 12
_LOCK_WORDS = ("locked", "busy")
_ROLLED_BACK = 0.2


@dataclass(frozen=True)
class Where:
    """The data directory and the server; `tokenizer` is loaded once, before anything is forked."""

    data_dir: Path
    tokenizer: ChatTokenizer
    base: str
    url: str
    key: str | None = None
    sweeps: bool = True  # False beside a running app, which does it itself

    @property
    def adapters(self) -> Path:
        return self.data_dir / "adapters"

    @property
    def templates(self) -> Path:
        """Random adapters, of which copies are published."""
        return self.data_dir / "templates"

    def store(self) -> Store:
        return Store(self.data_dir / "shorthand.sqlite")

    @asynccontextmanager
    async def pool(self) -> AsyncIterator[VllmPool]:
        pool = VllmPool([VllmClient(self.url, self.key)])
        try:
            yield pool
        finally:
            await pool.close()


def chat_all_the_time(where: Where, pause_s: float, seed: int, events: Connection, people: int) -> None:
    """Until it is killed. It starts as the app does: what was left half done is swept up."""
    with where.store() as store:
        if where.sweeps:
            store.messages.end_streaming()
        asyncio.run(_chat(where, store, pause_s, seed, events, people))


async def _chat(
    where: Where, store: Store, pause_s: float, seed: int, events: Connection, people: int
) -> None:
    async def load_active() -> None:
        async with where.pool() as pool:
            await reconcile(store, pool, where.adapters, where.base)

    server = ExternalServers([where.url])
    server.start(lambda url: asyncio.run(load_active()))
    limits = ChatLimits(2048, _ANSWER_TOKENS)
    async with where.pool() as pool, asyncio.TaskGroup() as group:
        chat = Chat(store, pool, where.tokenizer, where.base, where.adapters, limits)
        for number in range(people):
            person = _Person(f"person-{number}", chat, store, random.Random(f"{seed}-{number}"), events)
            group.create_task(person.live(server, pause_s))


@dataclass
class _Person:
    name: str
    chat: Chat
    store: Store
    chance: random.Random
    events: Connection
    asked: int = 0

    async def live(self, server: ExternalServers, pause_s: float) -> None:
        while True:
            await asyncio.sleep(self.chance.uniform(0, 2 * pause_s))
            if server.state.phase is not Phase.READY:  # the page does not let anybody ask either
                await asyncio.sleep(0.05)
                continue
            try:
                await self._turn(self.chance.choice(questions(180)))
            except (ChatError, StoreError, VllmError, BadAdapter) as error:
                self._send_failure(str(error))
                await asyncio.sleep(0.2)

    async def _turn(self, question: str) -> None:
        self.asked += 1
        text = f"{question} ({self.name}, {self.asked}, {time.time():.3f})"
        asked = await asyncio.to_thread(self.chat.ask, ASSISTANT, None, text, self.name)
        self.events.send(Saved("message", asked.id, digest(text)))
        async with aclosing(self.chat.answer(asked)) as steps:
            async for step in steps:
                message = step.message
                if step.not_saved:  # the page says so, and goes on trying
                    self._send_failure(step.not_saved)
        if message.status is not MessageStatus.COMPLETE:
            return
        self.events.send(Saved("message", message.id, digest(message.text)))
        self.events.send(Saved("answered", message.id))
        if self.chance.random() < 0.5:
            # Something to learn, and nothing of the person's own: what one rater alone writes is set aside.
            correction = question if self.chance.random() < 0.5 else None
            rating = await asyncio.to_thread(
                self.store.ratings.add,
                message.id,
                self.name,
                Verdict.DOWN,
                comment=text,
                correction=correction,
            )
            self.events.send(Saved("rating", rating.id, digest(text), message.id))

    def _send_failure(self, message: str) -> None:
        is_lock = any(word in message.lower() for word in _LOCK_WORDS)
        self.events.send(Saved("lock error" if is_lock else "failure", message[:300]))


def swap_all_the_time(where: Where, pause_s: float, seed: int, events: Connection) -> None:
    """Swap and roll back under the trainer's lock until it is killed."""
    chance = random.Random(seed)
    with where.store() as store:
        while True:
            time.sleep(chance.uniform(0, 2 * pause_s))
            try:
                with Lock(store.path.parent, TRAINING):
                    asyncio.run(_swap(where, store, chance, events))
            except (VllmError, StoreError, BadAdapter, LockTaken, OSError) as error:
                events.send(Saved("failure", str(error)[:300]))
                time.sleep(0.2)


async def _swap(where: Where, store: Store, chance: random.Random, events: Connection) -> None:
    store.runs.interrupt_running("The training process was killed or crashed during this run.")
    async with where.pool() as pool:
        scene = Scene(store, pool, where.tokenizer, where.adapters, where.templates, where.base)
        active = store.deployments.active(ASSISTANT)
        if active is not None and active.adapter is not None and chance.random() < _ROLLED_BACK:
            events.send(Saved("step", "roll back"))
            deployment = await scene.roll_back()
        else:
            events.send(Saved("step", "publish"))
            weights = chance.choice(sorted(path.name for path in where.templates.iterdir()))
            candidate = scene.candidate(System(weights, FULL[: chance.randint(0, 2)]))
            events.send(Saved("step", "swap"))
            deployment = await scene.swap_to(candidate)
            store.runs.finish(candidate.run_id or 0, RunStatus.PROMOTED, "", {})
        events.send(Saved("swap", str(deployment.id)))
        events.send(Saved("step", "rest"))
