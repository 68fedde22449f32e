"""Fixtures that more than one package's tests use."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

# Before numpy is there: two threads for each small product of matrices took four times as long as one.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import pytest
from fake_vllm import FakeVllm
from hypothesis import HealthCheck, settings
from tiny_model import write_model
from word_embedder import WordEmbedder

from assistant.tokenizer import ChatTokenizer
from store import Store
from store.garbage import collect_rarely
from store.lock import TRAINING, is_locked

# No test depends on how busy the machine is, and the same examples are tried each time; "long" looks for new ones.
at_any_speed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("default", at_any_speed, derandomize=True)
settings.register_profile("long", at_any_speed, max_examples=4000)
settings.load_profile("default")

if TYPE_CHECKING:
    from desk_scene import Desk
    from import_scene import Load
    from retrain_scene import Scene

    from trainer.training.finetune import Trained


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, before all the one that often waits for a process: others have the cores meanwhile."""
    items.sort(key=lambda item: item.path.name.startswith("test_whole_"), reverse=True)
    items.sort(key=lambda item: item.path.name == "test_whole_product.py", reverse=True)


def pytest_collection_finish() -> None:
    """As the app does: each look through all that was imported takes 0.7 s, and trainings and pages ask for many."""
    collect_rarely()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store in a file of its own."""
    with Store(tmp_path / "shorthand.sqlite") as opened:
        yield opened


@pytest.fixture
def bank(store: Store) -> Store:
    """A store with the assistant “bank”."""
    store.assistants.create("bank", "Bank", "exact")
    return store


@pytest.fixture
def load(bank: Store, tmp_path: Path) -> Load:
    """Imports data, with options and a format where these are given, for the assistant “bank”."""
    from import_scene import import_data

    return partial(import_data, bank, tmp_path)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model directory; nobody may write into it."""
    import torch

    torch.set_num_threads(1)  # matrices this small take ten times as long on threads that wait for each other
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tokenizer(tiny_model: Path) -> ChatTokenizer:
    return ChatTokenizer.load(tiny_model)


@pytest.fixture(scope="session")
def trained(tiny_model: Path, tokenizer: ChatTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A short training that went well; nobody may train it further."""
    from training_scene import train  # pulls in torch, which most tests do without

    return train(tiny_model, tokenizer, tmp_path_factory.mktemp("trained"))


@pytest.fixture
def vllm() -> Iterator[FakeVllm]:
    """A fake vLLM on a loopback port, at `vllm.url`."""
    fake = FakeVllm()
    with fake.serving():
        yield fake


@pytest.fixture
def event_loops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Gradio makes one for each lock and closes none; the garbage collector's warnings of them can break an import."""
    made: list[asyncio.AbstractEventLoop] = []
    make = asyncio.new_event_loop

    def new_event_loop() -> asyncio.AbstractEventLoop:
        made.append(make())
        return made[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", new_event_loop)
    yield
    for loop in made:
        loop.close()


@pytest.fixture
def desk(store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, tmp_path: Path) -> Desk:
    """All that a chat needs; see `desk_scene`."""
    from desk_scene import make_desk

    return make_desk(store, tokenizer, vllm, tmp_path)


@pytest.fixture
def scene(
    store: Store,
    tokenizer: ChatTokenizer,
    tiny_model: Path,
    vllm: FakeVllm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    """All that a whole retrain needs; see `retrain_scene`. Other processes find like questions by the real model."""
    from retrain_scene import make_scene  # pulls in torch, which most tests do without

    monkeypatch.setattr("trainer.context.Embedder", lambda directory: WordEmbedder())
    yield make_scene(store, tokenizer, tiny_model, vllm, tmp_path)
    runs = tmp_path / "runs"
    assert not runs.exists() or not list(runs.iterdir()), "checkpoints are removed however a run ends"
    assert not is_locked(tmp_path, TRAINING)
