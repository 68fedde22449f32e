"""A server that misbehaves during any step of a swap: what is stored as active is what is served, or the app is not
ready.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing, suppress
from pathlib import Path

import pytest
from fake_vllm import FakeVllm, Fault, How
from tiny_model import write_adapter

from assistant.chat import Chat
from assistant.limits import ChatError, ChatLimits
from assistant.serving import reconcile
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmClient, VllmError, VllmRefused
from assistant.vllm_pool import VllmPool
from benchmarks.faults.references import System
from benchmarks.faults.scene import ASSISTANT, FULL, Scene
from store import Store
from store.records import Deployment, DeploymentStatus, MessageStatus
from trainer.deployment.swap import hot_swap, load_checked, unload_older

IDS = tuple(range(10, 20))
PATIENCE_S = 1.0
MODELS, LOAD, ASK = "/v1/models", "/v1/load_lora_adapter", "/v1/completions"
# Every request of a swap, in order: the route, and which of its requests.
STEPS = {
    "loads": (LOAD, 1),
    "compares probabilities": (ASK, 1),
    "asks the base model alone": (ASK, 2),
    "asks it in a batch": (ASK, 4),
    "warms up": (ASK, 7),
    "lists the models after the warm-up": (MODELS, 1),
    "lists them to unload": (MODELS, 2),
    "unloads": ("/v1/unload_lora_adapter", 1),
}
AFTER_THE_FLIP = {"lists them to unload", "unloads"}


class World:
    """A scene on the fake server, with two swaps behind it, so that the next one has something to unload."""

    def __init__(self, store: Store, vllm: FakeVllm, tokenizer: ChatTokenizer, folder: Path):
        self.store, self.vllm, self.tokenizer, self.folder = store, vllm, tokenizer, folder
        vllm.answer = self._named
        write_adapter(folder / "templates", "random-1")
        (folder / "adapters").mkdir()

    def _named(self, model: str, ids: Sequence[int]) -> str:
        """Says which directory answered."""
        return f"by {Path(self.vllm.adapters[model]).name}" if model in self.vllm.adapters else "by base"

    async def begin(self) -> None:
        self.pool = VllmPool([VllmClient(self.vllm.url, read_timeout_s=PATIENCE_S)])
        self.scene = Scene(
            self.store,
            self.pool,
            self.tokenizer,
            self.folder / "adapters",
            self.folder / "templates",
            "base hash",
        )
        for _ in range(2):
            await self.swap()

    def candidate(self) -> Deployment:
        return self.scene.candidate(System("random-1", FULL[:1]))

    async def swap(self) -> Deployment:
        """As a retrain does it: what fails after the flip is left for later, since the swap has happened."""
        candidate, adapters = self.candidate(), self.folder / "adapters"
        active = self.store.deployments.active(ASSISTANT)
        await load_checked(self.pool, str(candidate.adapter), adapters, IDS, [(6, -3.0)] * 8)
        deployment = await hot_swap(self.store, self.pool, self.tokenizer, adapters, candidate, active)
        with suppress(VllmError):
            await unload_older(self.store, self.pool, ASSISTANT)
        return deployment

    async def chat(self) -> None:
        """What is answered is what is stored as active; raises ChatError."""
        limits = ChatLimits(2048, 16)
        chat = Chat(self.store, self.pool, self.tokenizer, "base hash", self.folder / "adapters", limits)
        question = chat.ask(ASSISTANT, None, "Who?")
        async with aclosing(chat.answer(question)) as steps:
            async for step in steps:
                message = step.message
        active = self.store.deployments.active(ASSISTANT)
        assert active is not None
        stored = self.store.messages.get(message.id)
        assert stored.status is MessageStatus.COMPLETE and stored.deployment_id == active.id
        assert stored.text == f"by {active.adapter}"

    async def recover(self) -> None:
        """The server goes on, or is started again; then what the app does before it is ready. Raises VllmError."""
        self.vllm.hung = False
        await asyncio.sleep(0.05)  # what it had been asked while it hung is done now
        if not self.vllm.is_up:
            self.vllm.rise()
        await reconcile(self.store, self.pool, self.folder / "adapters", "base hash")


@pytest.fixture
def world(store: Store, vllm: FakeVllm, tokenizer: ChatTokenizer, tmp_path: Path) -> World:
    return World(store, vllm, tokenizer, tmp_path)


@pytest.mark.parametrize("how", How)
@pytest.mark.parametrize("step", STEPS)
def test_what_is_active_is_served_whatever_happens_at_a_step(world: World, step: str, how: How) -> None:
    async def act() -> None:
        await world.begin()
        before = world.store.deployments.active(ASSISTANT)
        assert before is not None
        world.vllm.others = {"somebody-elses": "/elsewhere"}
        route, nth = STEPS[step]
        world.vllm.fault = Fault(route, nth, how)
        failed = None
        try:
            await world.swap()
        except VllmError as error:
            failed = error
        assert world.vllm.fault is None, "the step was reached"

        newest = world.store.deployments.all(ASSISTANT)[-1]
        active = world.store.deployments.active(ASSISTANT)
        assert active is not None
        if failed is None:
            assert active == newest != before
        else:
            assert step not in AFTER_THE_FLIP
            assert active == before and str(failed)
            assert newest.status in (DeploymentStatus.REJECTED, DeploymentStatus.CANDIDATE)
        try:  # with the server as the fault left it: the right answer, or a reason
            await world.chat()
        except ChatError as error:
            assert world.vllm.hung or not world.vllm.is_up, error

        await world.recover()
        await world.chat()
        assert await world.swap() == world.store.deployments.active(ASSISTANT)
        await world.chat()
        await world.pool.close()

    asyncio.run(act())


@pytest.mark.parametrize("step", ["loads", "asks it in a batch", "warms up"])
def test_another_adapter_under_the_candidates_name_is_never_activated(world: World, step: str) -> None:
    async def act() -> None:
        await world.begin()
        before = world.store.deployments.active(ASSISTANT)
        run = world.store.runs.start(ASSISTANT, {}, "to learn its number")
        name = f"{ASSISTANT}-v{run.id + 1:04}"
        world.vllm.others = {name: "/elsewhere/wrong"}
        world.vllm.fault = Fault(*STEPS[step], How.RESTARTED)
        with pytest.raises(VllmRefused, match=f"{name}.*from /elsewhere/wrong"):
            await world.swap()
        assert world.store.deployments.active(ASSISTANT) == before
        await world.chat()
        await world.pool.close()

    asyncio.run(act())


def test_an_adapter_of_another_place_under_the_active_ones_name_never_answers(world: World) -> None:
    async def act() -> None:
        await world.begin()
        active = world.store.deployments.active(ASSISTANT)
        assert active is not None
        world.vllm.restart()
        world.vllm.adapters[str(active.adapter)] = "/elsewhere/wrong"
        await world.recover()
        assert "Start that server again" in world.pool.lost[str(active.adapter)]
        assert "the base model answers with the full prompt" in world.pool.lost[str(active.adapter)]
        await world.pool.close()

    asyncio.run(act())
