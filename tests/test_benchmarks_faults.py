"""Short versions of what `benchmarks` does for hours: swaps under streams, kills, a soak; on the fake
server.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_vllm import FakeVllm

from assistant.chat import Chat
from assistant.limits import ChatLimits
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmClient
from assistant.vllm_pool import VllmPool
from benchmarks import random_adapters
from benchmarks.chaos import kill_often, record_of
from benchmarks.faults.ledger import Ledger, Saved, digest
from benchmarks.faults.references import Alone, References
from benchmarks.faults.scene import ASSISTANT, Scene
from benchmarks.faults.worlds import FakeWorld
from benchmarks.record import Screen
from benchmarks.soak import record, soak
from benchmarks.swaps import Swaps, SwapsUnderStreams, systems
from store import Store
from store.records import Role

QUESTIONS = ("What is bread?", "Who works with wool?")


def served_by(path: str) -> str:
    """Which of the random adapters lies there: by its bytes, since every swap has a name of its own."""
    return str(hash((Path(path) / "adapter_model.safetensors").read_bytes()))


class Swapped:
    """Swaps under streams on the fake server, which answers with what it has loaded."""

    def __init__(self, store: Store, vllm: FakeVllm, tokenizer: ChatTokenizer, folder: Path):
        self.store, self.vllm, self.tokenizer, self.folder = store, vllm, tokenizer, folder
        (folder / "adapters").mkdir()
        names = random_adapters.make_small(folder / "templates", 3, "base hash")
        self.choices = systems(names)
        answers = {}
        for system in self.choices:
            for question in QUESTIONS:
                text = served_by(str(folder / "templates" / system.weights)) if system.weights else "base"
                answers[system, question] = Alone((1, 2), (), text, 1.0)
        self.references = References(answers, 2, 2, 0.0)
        vllm.max_loras = 8
        vllm.answer = lambda model, ids: served_by(vllm.adapters[model]) if model != "base" else "base"

    def run(self, swaps: int) -> Swaps:
        async def act() -> Swaps:
            pool = VllmPool([VllmClient(self.vllm.url)])
            adapters = self.folder / "adapters"
            scene = Scene(self.store, pool, self.tokenizer, adapters, self.folder / "templates", "base hash")
            chat = Chat(self.store, pool, self.tokenizer, "base hash", adapters, ChatLimits(2048, 8))
            under_streams = SwapsUnderStreams(scene, chat, self.references, self.choices, 1)
            try:
                return await under_streams.run(swaps, 8, lambda found: None)
            finally:
                await pool.close()

        return asyncio.run(act())


@pytest.fixture
def swapped(store: Store, vllm: FakeVllm, tokenizer: ChatTokenizer, tmp_path: Path) -> Swapped:
    return Swapped(store, vllm, tokenizer, tmp_path)


def test_no_answer_under_swaps_fails_or_is_another_deployments(swapped: Swapped) -> None:
    found = swapped.run(30)
    assert found.swaps == 30 and found.rollbacks > 0
    assert found.sound and found.answers > 30, found
    assert swapped.store.maintenance.check() == []


def test_an_answer_of_another_adapter_is_noticed(swapped: Swapped) -> None:
    swapped.vllm.answer = lambda model, ids: "base"
    assert swapped.run(5).wrong > 0


@pytest.fixture
def world(tiny_model: Path, tmp_path: Path) -> Iterator[FakeWorld]:
    with FakeWorld(tmp_path, tiny_model, 1) as made:
        yield made


def test_nothing_acknowledged_is_lost_whoever_is_killed(world: FakeWorld) -> None:
    found = kill_often(world, 4, 0.2, 3, Screen())
    world.finish()
    numbers = record_of(world, found)
    assert world.ledger.sound, numbers
    assert numbers["kills"] == 4
    assert numbers["acknowledged"]["message"] > 4 and numbers["acknowledged"]["swap"] > 0


def test_a_soak_of_seconds_recovers_and_measures_everybody(
    world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.soak._POLL_S", 0.1)
    monkeypatch.setattr("benchmarks.soak._FEWEST_SAMPLES", 1)  # however busy the machine is
    progress = soak(world, 3.0, 0.2, 60.0, 1, lambda progress: None)
    found = record(world, progress)
    assert world.ledger.sound and not found["not_recovered"], found
    assert found["kills"] >= 1 and found["processes"]
    assert all("growth_percent" in process["mib"] for process in found["processes"].values())


def test_the_ledger_notices_what_is_missing(store: Store, tmp_path: Path) -> None:
    store.assistants.create(ASSISTANT, "Swapped", "exact")
    prompt = store.prompts.add(ASSISTANT, [])
    store.deployments.activate(store.deployments.add(ASSISTANT, prompt.id, None, (), 0, 0).id)
    message = store.messages.add(store.conversations.create(ASSISTANT).id, None, Role.USER, "hello")
    ledger = Ledger(swaps=["1"])
    ledger._new = [Saved("message", message.id, digest("hello")), Saved("rating", "none", "")]
    ledger.check(store, tmp_path, "base", whole_file=True)
    assert ledger.lost == ["rating none"] and ledger.wrong == []
    ledger.swaps.append("7")
    ledger.check(store, tmp_path, "base", whole_file=False)
    assert ledger.lost[1:] == ["swap 7"] and ledger.wrong == [] and not ledger.sound
