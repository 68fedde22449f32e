"""How long a swap, a request and the coming of a server take as servers and adapters become more.

The servers are the fake ones of the tests, all in this process, so that their own work counts too; each has the other
assistants' adapters loaded.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from assistant.assistants import create_assistant
from assistant.chat import Chat
from assistant.limits import ChatLimits
from assistant.serving import ServerAddress, prepare
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmClient
from assistant.vllm_pool import VllmPool
from benchmarks import random_adapters
from benchmarks.faults.references import System
from benchmarks.faults.scene import ASSISTANT, FULL, PROMPT, Scene, add_candidate
from benchmarks.record import Screen, write_result
from store import Store
from tests.fake_vllm import FakeVllm
from tests.tiny_model import write_tokenizer

_BASE = "base hash"
_SWAPS, _REQUESTS = 3, 30
_SERVERS, _ADAPTERS = (1, 10, 100), (10, 100, 1000)


class GrowingFleet:
    """An app with one store, whose other assistants have an adapter each."""

    def __init__(self, folder: Path, store: Store):
        self.store, self.adapters, self.templates = store, folder / "adapters", folder / "templates"
        self.adapters.mkdir()
        self.tokenizer = ChatTokenizer.load(write_tokenizer(folder / "model"))
        self.names = random_adapters.make_small(self.templates, 2, _BASE)
        self.others: list[str] = []

    def grow(self, count: int) -> None:
        """Until there are so many other assistants."""
        for number in range(len(self.others), count):
            name = f"other-{number}"
            create_assistant(self.store, self.tokenizer, name, "exact", PROMPT, assistant_id=name)
            candidate = add_candidate(
                self.store, self.tokenizer, self.adapters, self.templates, _BASE, self._system(0), name
            )
            active = self.store.deployments.active(name)
            self.store.deployments.activate(candidate.id, expect_active=active.id if active else None)
            self.others.append(str(candidate.adapter))

    def _system(self, number: int) -> System:
        return System(self.names[number % len(self.names)], FULL[:1])

    async def measure(self, servers: Sequence[FakeVllm]) -> dict[str, Any]:
        for server in servers:
            server.adapters = {name: str((self.adapters / name).resolve()) for name in self.others}
            server.max_loras = len(self.others) + 10
        pool = VllmPool([VllmClient(server.url) for server in servers])
        try:
            scene = Scene(self.store, pool, self.tokenizer, self.adapters, self.templates, _BASE)
            swaps = [await self._swap(scene, number) for number in range(_SWAPS)]
            chat = Chat(self.store, pool, self.tokenizer, _BASE, self.adapters, ChatLimits(2048, 16))
            requests = [await self._request(chat) for _ in range(_REQUESTS)]
            servers[0].restart()
            began = time.monotonic()
            address = ServerAddress((servers[0].url,), None, "", 2048, "", 256)
            await prepare(self.store, pool, address, self.adapters, _BASE, self.tokenizer)
            joined = time.monotonic() - began
        finally:
            await pool.close()
        return {
            "servers": len(servers),
            "adapters": len(self.others),
            "swap_s": round(median(swaps), 3),
            "request_ms": round(1000 * median(requests), 1),
            "join_s": round(joined, 2),
        }

    async def _swap(self, scene: Scene, number: int) -> float:
        candidate = scene.candidate(self._system(number))
        began = time.monotonic()
        await scene.swap_to(candidate)
        return time.monotonic() - began

    async def _request(self, chat: Chat) -> float:
        began = time.monotonic()
        async for _ in chat.answer(chat.ask(ASSISTANT, None, "Who is there?")):
            pass
        return time.monotonic() - began


def main(out: Annotated[Path | None, typer.Option(help="A JSON file for the result.")] = None) -> None:
    """Measure one app with more and more model servers and adapters; it takes four minutes.

    Example: python -m benchmarks.fleet_size
    """
    rows, screen = [], Screen()
    with TemporaryDirectory() as name, Store(Path(name) / "shorthand.sqlite") as store, ExitStack() as stack:
        fleet = GrowingFleet(Path(name), store)
        fakes = [FakeVllm() for _ in range(max(_SERVERS))]
        for fake in fakes:
            stack.enter_context(fake.serving())
        for count in _ADAPTERS:
            fleet.grow(count)
            for number in _SERVERS:
                rows.append(asyncio.run(fleet.measure(fakes[:number])))
                screen.say(str(rows[-1]))
    write_result(out, "fleet_size", 0, {"rows": rows})


if __name__ == "__main__":
    typer.run(main)
