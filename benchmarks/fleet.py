"""Several model servers that are killed, stopped, started again and cut off while people chat and adapters are swapped.

The servers are the fake one of the tests, a process each, which says which adapter answered. All else is the product's:
the watch over servers, the pool, the chat, and for each swap a pool of its own, as a retrain has.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack, aclosing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from assistant.chat import Chat
from assistant.external_servers import ExternalServers
from assistant.limits import ChatError, ChatLimits
from assistant.serving import ServerAddress, prepare
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmError
from assistant.vllm_pool import VllmPool
from benchmarks import random_adapters
from benchmarks.faults.namespaces import Namespace
from benchmarks.faults.references import System
from benchmarks.faults.scene import ASSISTANT, FULL, Scene, create_swapped_assistant
from benchmarks.processes import FakeServer
from benchmarks.record import Screen, fail, write_result
from store import Store, StoreError
from store.records import Message, MessageStatus
from tests.tiny_model import write_tokenizer

_BASE = "base hash"
_PACE_S = 0.05  # of a word; an answer has five
_FAULT_S = 2.0  # a fault lasts so long, and as long passes until the next
_CUT_S = 25.0  # a server without network lasts so long: connections to it must have been given up by then


@dataclass
class Found:
    """`broken_off` have begun and are stored as far as they came; `refused` never began, and the person was told."""

    answers: int = 0
    complete: int = 0
    broken_off: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    swaps: int = 0
    swaps_given_up: int = 0
    swap_s: list[float] = field(default_factory=list)
    slowest_answer_s: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)

    def take(self, stored: Message, adapter: str | None) -> None:
        """Compare what is stored with what its deployment answers."""
        self.answers += 1
        right = f"this is answered by {adapter or 'base'}"
        if stored.status is MessageStatus.COMPLETE and stored.text == right:
            self.complete += 1
        elif stored.status is MessageStatus.FAILED and right.startswith(stored.text):
            self.broken_off += bool(stored.text)
            self.refused += not stored.text
        else:
            self.wrong.append(f"{stored.status}: {stored.text!r} instead of {right!r}")


class Fleet:
    """The app's side of the servers, in one data directory."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        servers: Sequence[FakeServer],
        namespaces: Sequence[Namespace],
        seed: int,
    ):
        self.store, self.servers, self.chance = store, servers, random.Random(seed)
        self._namespaces = namespaces  # as many as servers, or none
        self.adapters, self.templates = folder / "adapters", folder / "templates"
        self.adapters.mkdir()
        self.tokenizer = ChatTokenizer.load(write_tokenizer(folder / "model"))
        self.systems = [
            System(name, FULL[:1]) for name in random_adapters.make_small(self.templates, 3, _BASE)
        ]
        self.watch = ExternalServers([server.url for server in servers])
        self.found = Found()
        self.ended = asyncio.Event()
        create_swapped_assistant(store, self.tokenizer)

    async def run(self, seconds: float, streams: int) -> Found:
        self.pool = VllmPool.following(self.watch, None)
        chat = Chat(self.store, self.pool, self.tokenizer, _BASE, self.adapters, ChatLimits(2048, 16))
        address = ServerAddress((), None, "", 2048, "", 256)

        def on_ready(url: str) -> None:
            asyncio.run(
                prepare(
                    self.store, self.pool, replace(address, urls=(url,)), self.adapters, _BASE, self.tokenizer
                )
            )

        self.watch.start(on_ready)
        while self.watch.away:
            await asyncio.sleep(0.1)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(streams):
                    group.create_task(self._ask(chat))
                group.create_task(self._swap())
                if len(self.servers) > 1:
                    group.create_task(self._harm())
                await asyncio.sleep(seconds)
                self.ended.set()
        finally:
            self.watch.stop()
            await self.pool.close()
        return self.found

    async def _ask(self, chat: Chat) -> None:
        while not self.ended.is_set():
            question = await asyncio.to_thread(chat.ask, ASSISTANT, None, "Who is there?")
            id, began = "", time.monotonic()
            try:
                async with aclosing(chat.answer(question)) as steps:
                    async for step in steps:
                        id = step.message.id
            except ChatError:
                await asyncio.sleep(0.2)
            stored = await asyncio.to_thread(self.store.messages.get, id)
            deployment = await asyncio.to_thread(self.store.deployments.get, stored.deployment_id or 0)
            self.found.take(stored, deployment.adapter)
            self.found.slowest_answer_s = max(self.found.slowest_answer_s, time.monotonic() - began)

    async def _swap(self) -> None:
        while not self.ended.is_set():
            began = time.monotonic()
            try:
                pool = await VllmPool.connect(self.watch.urls, None)
                try:
                    scene = Scene(self.store, pool, self.tokenizer, self.adapters, self.templates, _BASE)
                    candidate = await asyncio.to_thread(scene.candidate, self.chance.choice(self.systems))
                    await scene.swap_to(candidate)
                finally:
                    await pool.close()
                self.found.swaps += 1
                self.found.swap_s.append(round(time.monotonic() - began, 3))
            except (VllmError, StoreError):
                self.found.swaps_given_up += 1
            await asyncio.sleep(0.5)

    async def _harm(self) -> None:
        """One server at a time."""
        kinds = ["kill", "stop", "restart", *(["cut off"] if self._namespaces else [])]
        while not self.ended.is_set():
            await asyncio.sleep(_FAULT_S)
            number, how = self.chance.randrange(len(self.servers)), self.chance.choice(kinds)
            server = self.servers[number]
            self.found.faults[how] = self.found.faults.get(how, 0) + 1
            if how == "cut off":
                self._namespaces[number].cut()
                await asyncio.sleep(_CUT_S)
                self._namespaces[number].mend()
                continue
            if how == "stop":  # connections stay, nothing comes
                os.kill(server.pid, signal.SIGSTOP)
                await asyncio.sleep(_FAULT_S)
                os.kill(server.pid, signal.SIGCONT)
                continue
            server.kill()
            await asyncio.sleep(_FAULT_S if how == "kill" else 0)
            await asyncio.to_thread(server.start)


def main(
    replicas: Annotated[int, typer.Option(min=1, help="Servers; one alone is not harmed.")] = 4,
    streams: Annotated[int, typer.Option(min=1)] = 32,
    seconds: Annotated[float, typer.Option(min=1)] = 60.0,
    seed: Annotated[int, typer.Option(help="Of faults and swaps.")] = 1,
    namespaces: Annotated[
        bool, typer.Option(help="Each server in a network namespace, and cut off now and then; needs root.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the result.")] = None,
) -> None:
    """Kill, stop and restart model servers under chat and swaps, and compare every answer.

    Example: python -m benchmarks.fleet --replicas 4 --seconds 120
    """
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        machines = [stack.enter_context(Namespace(number)) for number in range(replicas * namespaces)]
        where = [(one.address, one.command) for one in machines] or [("127.0.0.1", [])] * replicas
        servers = [
            stack.enter_context(FakeServer(pace_s=_PACE_S, host=host, within=within))
            for host, within in where
        ]
        with Store(folder / "shorthand.sqlite") as store:
            found = asyncio.run(Fleet(folder, store, servers, machines, seed).run(seconds, streams))
            complaints = store.maintenance.check()
            left = store.messages.streaming_count()
    took, counts = sorted(found.swap_s) or [0.0], asdict(found) | {"wrong": found.wrong[:20]}
    del counts["swap_s"]
    numbers: dict[str, Any] = {
        **{"replicas": replicas, "streams": streams, "seconds": seconds, **counts},
        **{"left_streaming": left, "complaints": complaints},
        **{"namespaces": namespaces, "median_swap_s": took[len(took) // 2], "slowest_swap_s": took[-1]},
    }
    write_result(out, "fleet", seed, numbers)
    Screen().say(str(numbers))
    if found.wrong or complaints or left:
        fail("Not every answer is stored as it should be.", 1)


if __name__ == "__main__":
    typer.run(main)
