"""A process in which several people chat and rate, through the product's own chat path: to be killed.

It starts as the app does: what was left half done is swept up, and nothing is asked before the active adapters are
loaded. After each thing that a person was told is saved it sends a `Saved`.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import aclosing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from assistant.adapter_files import BadAdapter
from assistant.chat import Chat, ChatError, ChatLimits
from assistant.external_server import ExternalServers
from assistant.serving import reconcile
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmClient, VllmError
from assistant.vllm_pool import VllmPool
from assistant.vllm_server import Phase
from benchmarks.faults.ledger import Saved, digest
from benchmarks.faults.questions import questions
from benchmarks.faults.scene import ASSISTANT
from store import Store, StoreError
from store.records import MessageStatus, Verdict

_ANSWER_TOKENS = 12
_LOCK_WORDS = ("locked", "busy")


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

    def store(self) -> Store:
        return Store(self.data_dir / "shorthand.sqlite")

    def pool(self) -> VllmPool:
        return VllmPool([VllmClient(self.url, self.key)])


def chat_all_the_time(where: Where, people: int, pause_s: float, seed: int, told: Connection) -> None:
    """Until it is killed."""
    with where.store() as store:
        if where.sweeps:
            store.sweep_streaming()
        asyncio.run(_chat(where, store, people, pause_s, seed, told))


async def _chat(where: Where, store: Store, people: int, pause_s: float, seed: int, told: Connection) -> None:
    server = ExternalServers([where.url], _load_active(where, store))
    server.start()
    pool = where.pool()
    chat = Chat(store, pool, where.tokenizer, where.base, where.adapters, ChatLimits(2048, _ANSWER_TOKENS))
    async with asyncio.TaskGroup() as group:
        for number in range(people):
            chance = random.Random(f"{seed}-{number}")
            group.create_task(_person(f"person-{number}", chat, store, server, chance, pause_s, told))


def _load_active(where: Where, store: Store):  # type: ignore[no-untyped-def]
    async def load() -> None:
        pool = where.pool()
        try:
            await reconcile(store, pool, where.adapters, where.base)
        finally:
            await pool.close()

    return lambda: asyncio.run(load())


async def _person(
    name: str,
    chat: Chat,
    store: Store,
    server: ExternalServers,
    chance: random.Random,
    pause_s: float,
    told: Connection,
) -> None:
    asked = questions(180)
    number = 0
    while True:
        await asyncio.sleep(chance.uniform(0, 2 * pause_s))
        if server.state.phase is not Phase.READY:  # the page does not let anybody ask either
            await asyncio.sleep(0.05)
            continue
        number += 1
        question_alone = chance.choice(asked)
        text = f"{question_alone} ({name}, {number}, {time.time():.3f})"
        try:
            question = await asyncio.to_thread(chat.ask, ASSISTANT, None, text, name)
            told.send(Saved("message", question.id, digest(text)))
            async with aclosing(chat.answer(question)) as steps:
                async for step in steps:
                    message = step.message
                    if step.not_saved:  # the page says so, and goes on trying
                        told.send(Saved(_kind(step.not_saved), step.not_saved[:300]))
            if message.status is not MessageStatus.COMPLETE:
                continue
            told.send(Saved("message", message.id, digest(message.text)))
            told.send(Saved("answered", message.id))
            if chance.random() < 0.5:
                # Something to learn, and nothing of the person's own: what one rater alone writes goes to quarantine.
                correction = question_alone if chance.random() < 0.5 else None
                rating = await asyncio.to_thread(
                    store.rate, message.id, name, Verdict.DOWN, comment=text, correction=correction
                )
                told.send(Saved("rating", rating.id, digest(text), message.id))
        except (ChatError, StoreError, VllmError, BadAdapter) as error:
            told.send(Saved(_kind(str(error)), str(error)[:300]))
            await asyncio.sleep(0.2)


def _kind(said: str) -> str:
    return "lock error" if any(word in said.lower() for word in _LOCK_WORDS) else "said why"
