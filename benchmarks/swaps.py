"""Hot swaps under streams: no answer fails, mixes adapters or is stored under another deployment.

All is real but the adapters, which have random weights, and the gate, which is left out. Every answer is compared with
what its deployment answers alone: the same text, and as many tokens.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from assistant.chat import Chat
from assistant.limits import ChatError, ChatLimits
from assistant.vllm_client import VllmError
from benchmarks.faults.references import Greedy, References, System, find_references, questions
from benchmarks.faults.scene import ASSISTANT, FULL, PROMPT, Scene
from benchmarks.record import Screen, fail, write_result
from benchmarks.serving import Layers, ModelDir, OwnServer
from store import StoreError
from store.records import Message, MessageStatus

ANSWER_TOKENS = 8
_QUESTIONS, _TRIED = 10, 40
_ROLLED_BACK = 0.15
_WRITE_EVERY = 10
_KEPT_FAILURES = 20  # in words; all are counted


@dataclass
class Swaps:
    """How many swaps of which kind there were, and what the streams got meanwhile.

    `across`: answers that were under way while the active deployment changed. `seconds` are those of each swap.
    """

    swaps: int = 0
    rollbacks: int = 0
    swaps_to_the_base_model: int = 0
    answers: int = 0
    tokens: int = 0
    across: int = 0
    failed: int = 0
    wrong: int = 0
    failures: list[str] = field(default_factory=list)
    by_system: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.failed and not self.wrong

    def as_record(self) -> dict[str, Any]:
        record = asdict(self)
        seconds = sorted(record.pop("seconds"))
        return record | {"median_swap_s": seconds[len(seconds) // 2], "slowest_swap_s": seconds[-1]}


def systems(weights: list[str]) -> list[System]:
    """The base model with the full prompt, and each adapter with another part of it."""
    variants = (FULL[:1], (), FULL)
    return [System(None, FULL)] + [System(name, variants[n % 3]) for n, name in enumerate(weights)]


class SwapsUnderStreams:
    """People who ask all the time, through the chat path, while one deployment follows the other."""

    def __init__(self, scene: Scene, chat: Chat, references: References, choices: list[System], seed: int):
        self._scene, self._chat, self._references, self._choices = scene, chat, references, choices
        self._seed = seed
        active = scene.store.deployments.active(ASSISTANT)
        self._deployments = {active.id: choices[0]} if active else {}
        self._stopped = asyncio.Event()
        self.found = Swaps()

    async def run(self, swaps: int, streams: int, after_each: Callable[[Swaps], None]) -> Swaps:
        """Raises VllmError, BadAdapter, StoreError where a swap itself fails."""
        chance = random.Random(self._seed)
        running = asyncio.create_task(self._ask(streams))
        try:
            while self.found.swaps < swaps and not running.done():
                began = time.monotonic()
                await self._swap(chance)
                self.found.swaps += 1
                self.found.seconds.append(round(time.monotonic() - began, 3))
                after_each(self.found)
        finally:
            self._stopped.set()
            await running  # answers that are under way are still waited for
        return self.found

    async def _swap(self, chance: random.Random) -> None:
        if self.found.swaps > 2 and chance.random() < _ROLLED_BACK:
            await self._scene.roll_back()
            self.found.rollbacks += 1
            return
        system = chance.choice(self._choices)
        candidate = await asyncio.to_thread(self._scene.candidate, system)
        self._deployments[candidate.id] = system  # before anything can be stored under it
        await self._scene.swap_to(candidate)
        self.found.swaps_to_the_base_model += system.weights is None

    async def _ask(self, streams: int) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(streams):
                group.create_task(self._one_stream(random.Random(f"{self._seed}-{number}")))

    async def _one_stream(self, chance: random.Random) -> None:
        while not self._stopped.is_set():
            question = chance.choice(self._references.questions)
            try:
                message = await self._answer(question)
            except (ChatError, StoreError) as error:
                self.found.failed += 1
                self._keep(f"failed: {error}")
                await asyncio.sleep(0.5)  # a server that refuses at once would be asked thousands of times
                continue
            self._compare(question, message)

    async def _answer(self, question: str) -> Message:
        asked = await asyncio.to_thread(self._chat.ask, ASSISTANT, None, question)
        async with aclosing(self._chat.answer(asked)) as steps:
            async for step in steps:
                message = step.message
        # What is compared is what was stored, not what was shown.
        return await asyncio.to_thread(self._scene.store.messages.get, message.id)

    def _compare(self, question: str, message: Message) -> None:
        found, usage = self.found, message.usage
        found.answers += 1
        if message.status is not MessageStatus.COMPLETE or message.deployment_id is None or usage is None:
            found.failed += 1
            self._keep(f"stored as {message.status} under {message.deployment_id}")
            return
        system = self._deployments[message.deployment_id]
        right = self._references.of(system, question)
        name = system.weights or "base"
        found.tokens += usage.completion_tokens
        found.by_system[name] += 1
        active = self._scene.store.deployments.active(ASSISTANT)
        found.across += active is not None and active.id != message.deployment_id
        if message.text != right.text or usage.completion_tokens != len(right.tokens):
            found.wrong += 1
            self._keep(f"{name}, {question!r}: {message.text!r} instead of {right.text!r}")

    def _keep(self, reason: str) -> None:
        if len(self.found.failures) < _KEPT_FAILURES:
            self.found.failures.append(reason)


async def measure(server: OwnServer, swaps: int, streams: int, seed: int, out: Path | None) -> bool:
    screen, began = Screen(), time.monotonic()
    tokenizer, store = server.tokenizer, server.store
    pool, chatting = server.pool(), server.pool()
    greedy = Greedy(server.url, tokenizer, ANSWER_TOKENS)
    choices = systems(server.make_random_adapters())
    names = {one: one.weights or pool.base for one in choices}
    for one in choices[1:]:
        await pool.load_adapter(names[one], str(server.templates / names[one]))
    references = await find_references(greedy, names, PROMPT, questions(_TRIED), _QUESTIONS, screen.say)
    for one in choices[1:]:  # what is swapped later has names of its own
        await pool.unload_adapter(names[one])
    scene = Scene(store, pool, tokenizer, server.adapters, server.templates, server.base)
    limits = ChatLimits(2048, ANSWER_TOKENS)
    chat = Chat(store, chatting, tokenizer, server.base, server.adapters, limits)

    def write(found: Swaps, **more: Any) -> None:
        seconds = round(time.monotonic() - began, 1)
        origin = {"streams": streams, "references": references.as_record(), "seconds": seconds}
        write_result(out, "swaps", seed, found.as_record() | origin | more)

    with screen.status("swaps") as status:

        def after_each(found: Swaps) -> None:
            left = (time.monotonic() - began) / found.swaps * (swaps - found.swaps)
            status(f"{found.swaps} of {swaps}, {left / 60:.0f} minutes left")
            if found.swaps % _WRITE_EVERY == 0:
                write(found)

        under_streams = SwapsUnderStreams(scene, chat, references, choices, seed)
        found = await under_streams.run(swaps, streams, after_each)
    await asyncio.gather(pool.close(), chatting.close(), greedy.close())
    complaints = store.maintenance.check()
    write(found, complaints=complaints)
    screen.say(
        f"{found.swaps} swaps ({found.rollbacks} of them rollbacks) under {streams} streams: {found.answers:,} "
        f"answers, {found.across:,} of them across a swap. Failed: {found.failed}. Not the reference: {found.wrong}. "
        f"Complaints of the check: {len(complaints)}."
    )
    for line in [*found.failures, *complaints]:
        screen.say(line)
    return found.sound and not complaints


def main(
    swaps: Annotated[int, typer.Option(min=1)] = 500,
    streams: Annotated[int, typer.Option(min=1, help="Answers under way at any time.")] = 32,
    seed: Annotated[int, typer.Option(help="Of the order of swaps and questions.")] = 1,
    model: ModelDir = None,
    layers: Layers = None,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the result.")] = None,
) -> None:
    """Swap again and again while people chat, and compare every answer.

    Example: python -m benchmarks.swaps --swaps 500 --streams 32 --out benchmarks/results/swaps.json
    """
    with TemporaryDirectory() as folder, OwnServer(Path(folder), model, layers) as server:
        try:
            sound = asyncio.run(measure(server, swaps, streams, seed, out))
        except (VllmError, ValueError) as error:
            fail(str(error), 1)
    if not sound:
        fail("Not every answer was the one that it should be.", 1)


if __name__ == "__main__":
    typer.run(main)
