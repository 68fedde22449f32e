"""People who ask all the time, through the chat path: each answer is compared with the reference of its deployment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from assistant.chat import Chat, ChatError
from benchmarks.faults.references import References, System
from benchmarks.faults.scene import ASSISTANT
from store import Store, StoreError
from store.records import Message, MessageStatus

_KEPT_FAILURES = 20  # of each kind, in words; all are counted


@dataclass
class Heard:
    """What the streams got. `across`: answers that were under way while the active deployment changed."""

    answers: int = 0
    tokens: int = 0
    across: int = 0
    failed: int = 0
    wrong: int = 0
    failures: list[str] = field(default_factory=list)
    by_system: dict[str, int] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        return not self.failed and not self.wrong

    def note(self, what: str) -> None:
        if len(self.failures) < _KEPT_FAILURES:
            self.failures.append(what)


class Streams:
    """`deployments` grows while the streams run: which system each deployment is."""

    def __init__(
        self,
        store: Store,
        chat: Chat,
        references: References,
        deployments: Mapping[int, System],
        seed: int,
    ):
        self._store, self._chat, self._references, self._deployments = store, chat, references, deployments
        self._seed = seed
        self._stopped = asyncio.Event()
        self.heard = Heard()

    def stop(self) -> None:
        """Answers that are under way are still waited for by `run`."""
        self._stopped.set()

    async def run(self, streams: int) -> None:
        """Ask until `stop`."""
        async with asyncio.TaskGroup() as group:
            for number in range(streams):
                group.create_task(self._ask_on(random.Random(f"{self._seed}-{number}")))

    async def _ask_on(self, chance: random.Random) -> None:
        while not self._stopped.is_set():
            question = chance.choice(self._references.questions)
            try:
                message = await self._answer(question)
            except (ChatError, StoreError) as error:
                self.heard.failed += 1
                self.heard.note(f"failed: {error}")
                await asyncio.sleep(0.5)  # a server that refuses at once would be asked thousands of times
                continue
            self._judge(question, message)

    async def _answer(self, question: str) -> Message:
        asked = await asyncio.to_thread(self._chat.ask, ASSISTANT, None, question)
        async with aclosing(self._chat.answer(asked)) as steps:
            async for step in steps:
                message = step.message
        # What is judged is what was stored, not what was shown.
        return await asyncio.to_thread(self._store.messages.get, message.id)

    def _judge(self, question: str, message: Message) -> None:
        heard = self.heard
        heard.answers += 1
        if (
            message.status is not MessageStatus.COMPLETE
            or message.deployment_id is None
            or message.usage is None
        ):
            heard.failed += 1
            heard.note(f"stored as {message.status} under {message.deployment_id}")
            return
        system = self._deployments[message.deployment_id]
        right = self._references.of(system, question)
        heard.tokens += message.usage.completion_tokens
        name = system.weights or "base"
        heard.by_system[name] = heard.by_system.get(name, 0) + 1
        active = self._store.deployments.active(ASSISTANT)
        heard.across += active is not None and active.id != message.deployment_id
        if message.text != right.text or message.usage.completion_tokens != len(right.tokens):
            heard.wrong += 1
            heard.note(f"{name}, {question!r}: {message.text!r} instead of {right.text!r}")
