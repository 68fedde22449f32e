"""A real vLLM that dies, hangs, fails or is started again by hand at each request of a swap: one consistent state.

After each fault what is stored as active is compared with what answers, first with the server as it is, then when it is
back. `tests/test_trainer_swap_faults.py` does the same to a fake server.

    python -m benchmarks.swap_faults --layers 4 --out benchmarks/results/swap_faults.json
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from assistant import supervisor
from assistant.chat import Chat, ChatError, ChatLimits
from assistant.rendering import keep, render
from assistant.serving import reconcile
from assistant.vllm_client import VllmClient, VllmError, async_transport, blocking_client
from assistant.vllm_pool import VllmPool
from benchmarks.faults.misbehaving import Misbehaving
from benchmarks.faults.references import Greedy, References, System, find_references, questions
from benchmarks.faults.scene import ASSISTANT, FULL, PROMPT, Scene
from benchmarks.faults.swap_steps import AFTER_THE_FLIP, LOAD, STEPS, Fault, How
from benchmarks.record import fail, write_result
from benchmarks.screen import Screen
from benchmarks.vllm_process import Layers, ModelDir, OwnServer
from store.records import Deployment, MessageStatus, Role

ANSWER_TOKENS = 8
_QUESTIONS, _TRIED = 4, 30
_PATIENCE_S = 6.0  # a swap waits ten times as long for its warm-up
_EXPECTED = 8


@dataclass(frozen=True)
class Case:
    """One fault at one step. `wrong`: what must not be, in words; empty where all is consistent."""

    step: str
    how: str
    swapped: bool
    message: str  # why the swap failed; empty where it did not
    chat: str
    back_s: float
    wrong: list[str]


class World:
    """A scene on a real server. `check` answers a question and compares it with what is stored as active."""

    def __init__(self, server: OwnServer, references: References, expected: dict[System, list[Any]]):
        self.server, self.references, self.expected = server, references, expected
        self.transport = Misbehaving(server, self._restart_by_hand, async_transport(server.url))
        self.pool = VllmPool([VllmClient(server.url, transport=self.transport, read_timeout_s=_PATIENCE_S)])
        self.scene = Scene(
            server.store, self.pool, server.tokenizer, server.adapters, server.templates, server.base
        )
        self.systems: dict[int, System] = {}
        self._turn = 0

    async def swap(self) -> Deployment:
        """Each system in turn; raises VllmError, ParityError."""
        self._turn += 1
        system = list(self.expected)[self._turn % len(self.expected)]
        candidate = await asyncio.to_thread(self.scene.candidate, system)
        self.systems[candidate.id] = system
        return await self.scene.swap_checked(candidate, probe(self.server), self.expected[system])

    def _restart_by_hand(self) -> None:
        """Another process at the same address, with an adapter that nobody knows."""
        server = self.server
        server.kill()
        server.wait_until_ready()
        strange = {"lora_name": "somebody-elses", "lora_path": str(next(server.templates.iterdir()))}
        with blocking_client(server.url, None, 60.0) as client:
            client.post(LOAD, json=strange).raise_for_status()

    async def check(self) -> list[str]:
        """What is wrong with an answer; raises ChatError where there is none."""
        server, question = self.server, self.references.questions[self._turn % len(self.references.questions)]
        limits = ChatLimits(2048, ANSWER_TOKENS)
        chat = Chat(server.store, self.pool, server.tokenizer, server.base, server.adapters, limits)
        async with aclosing(chat.answer(chat.ask(ASSISTANT, None, question))) as steps:
            async for step in steps:
                message = step.message
        stored, active = server.store.messages.get(message.id), server.store.deployments.active(ASSISTANT)
        if active is None or stored.status is not MessageStatus.COMPLETE or stored.deployment_id != active.id:
            return [
                f"an answer is stored as {stored.status} under {stored.deployment_id}, active is {active}"
            ]
        right = self.references.of(self.systems[active.id], question).text
        return (
            [] if stored.text == right else [f"{active.adapter} answers {stored.text!r} instead of {right!r}"]
        )

    async def back(self) -> None:
        """The server goes on, or is started again by the app; then what the app does before it is ready."""
        self.server.go_on()
        await asyncio.to_thread(self.server.wait_until_ready)
        for _ in range(20):  # what it had been asked while it hung is done now
            with suppress(VllmError):
                await reconcile(self.server.store, self.pool, self.server.adapters, self.server.base)
                return
            await asyncio.sleep(0.5)
        await reconcile(self.server.store, self.pool, self.server.adapters, self.server.base)

    async def case(self, step: str, how: How) -> Case:
        for _ in range(2):  # so that there is something to unload
            await self.swap()
        before, wrong = self.server.store.deployments.active(ASSISTANT), []
        self.transport.fault = Fault(*STEPS[step], how)
        failure = ""
        try:
            await self.swap()
        except VllmError as error:
            failure = str(error)
        began = time.monotonic()
        if self.transport.fault is not None:
            wrong.append("the step was not reached")
            self.transport.fault = None
        newest, active = (
            self.server.store.deployments.all(ASSISTANT)[-1],
            self.server.store.deployments.active(ASSISTANT),
        )
        if failure and (active != before or step in AFTER_THE_FLIP):
            wrong.append(f"the swap failed, and {active} is active, before it {before}")
        if not failure and active != newest:
            wrong.append(f"the swap went through, and {active} is active, not {newest}")
        try:
            wrong += await self.check()
            chat = "the active pair"
        except ChatError as error:
            chat = str(error)
        await self.back()
        back_s = time.monotonic() - began
        wrong += await self.check()
        again = await self.swap()
        wrong += (
            []
            if again == self.server.store.deployments.active(ASSISTANT)
            else ["the next swap is not active"]
        )
        wrong += await self.check()
        return Case(step, how.value, not failure, failure, chat, round(back_s, 1), wrong)


def probe(server: OwnServer) -> tuple[int, ...]:
    """Token ids whose continuation is compared, as a training run does it with a question of its gate."""
    return render(server.tokenizer, keep(PROMPT, FULL[:1]), ((Role.USER, questions(1)[0]),)).ids


async def prepare(server: OwnServer, screen: Screen) -> World:
    """Raises ValueError, VllmError."""
    names = server.make_random_adapters(2)
    systems = {
        System(name, segment_ids): name for name, segment_ids in zip(names, ((), FULL[:1]), strict=True)
    }
    pool, greedy = await server.pool(), Greedy(server.url, server.tokenizer, ANSWER_TOKENS)
    try:
        expected = {}
        for system, name in systems.items():
            await pool.load_adapter(name, str(server.templates / name))
            expected[system] = await pool.pick().greedy(name, probe(server), _EXPECTED)
        references = await find_references(greedy, systems, PROMPT, questions(_TRIED), _QUESTIONS, screen.say)
        for name in names:
            await pool.unload_adapter(name)
    finally:
        await asyncio.gather(pool.close(), greedy.close())
    return World(server, references, expected)


async def measure(server: OwnServer, steps: list[str], out: Path | None) -> bool:
    screen = Screen()
    world = await prepare(server, screen)
    cases: list[Case] = []
    for how in How:
        for step in steps:
            found = await world.case(step, how)
            cases.append(found)
            screen.say(
                f"{len(cases)} of {len(How) * len(steps)}: {how.value}, {step}: "
                f"{'swapped in' if found.swapped else found.message} Back after {found.back_s:.0f} s. "
                f"{'; '.join(found.wrong) or 'Consistent.'}"
            )
            write_result(out, "swap_faults", 0, record(cases))
    complaints = server.store.maintenance.check()
    for line in complaints:
        screen.say(line)
    await world.pool.close()
    return not complaints and not any(case.wrong for case in cases)


def record(cases: list[Case]) -> dict[str, Any]:
    return {
        "cases": len(cases),
        "consistent": sum(not case.wrong for case in cases),
        "swapped_in": dict(Counter(case.how for case in cases if case.swapped)),
        "each": [asdict(case) for case in cases],
    }


def main(
    step: Annotated[list[str] | None, typer.Option(help="This step; may be repeated. Default: all.")] = None,
    model: ModelDir = None,
    layers: Layers = None,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the result.")] = None,
) -> None:
    """Let vLLM misbehave at each request of a swap, and look at what is active and what answers. About 40 minutes.

    Example: python -m benchmarks.swap_faults --layers 4 --step loads
    """
    if unknown := set(step or ()) - set(STEPS):
        fail(f"There is no step {sorted(unknown)[0]!r}. Choose from: {', '.join(STEPS)}.")
    # A server that dies again and again is started ever later, which is no part of what is looked at here.
    supervisor.LONGEST_PAUSE_S = supervisor.FIRST_PAUSE_S
    with TemporaryDirectory() as folder, OwnServer(Path(folder), model, layers) as server:
        try:
            sound = asyncio.run(measure(server, list(step or STEPS), out))
        except (VllmError, ValueError) as error:
            fail(str(error), 1)
    if not sound:
        fail("What is active is not what answers.", 1)


if __name__ == "__main__":
    typer.run(main)
