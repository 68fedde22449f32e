"""A published adapter to the one that answers: the checks before, and what stays loaded after."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from fake_vllm import FakeVllm
from tiny_model import write_adapter

from assistant.adapter_files import BadAdapter
from assistant.assistants import create_assistant
from assistant.serving import load_deployment
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmError
from assistant.vllm_pool import VllmPool
from store import Store
from store.errors import Conflict
from store.records import Deployment, DeploymentStatus, MessageStatus, Role, Segment, SegmentKind
from trainer.deployment import swap
from trainer.deployment.swap import (
    REPEATS,
    ParityError,
    check_base_is_base,
    check_parity,
    hot_swap,
    measure_latency,
    unload_older,
)

IDS = tuple(range(10, 20))
PROMPT = (
    Segment("role", SegmentKind.INSTRUCTION, text="You are a helpful AI assistant. " * 8),
    Segment("short", SegmentKind.INSTRUCTION, text="Answer with one word."),
)


def on(vllm: FakeVllm, act: Callable[[VllmPool], Coroutine[Any, Any, Any]]) -> Any:
    async def whole() -> Any:
        pool = await VllmPool.connect([vllm.url], None)
        try:
            return await act(pool)
        finally:
            await pool.close()

    return asyncio.run(whole())


@pytest.fixture
def bank(store: Store, tokenizer: ChatTokenizer) -> Store:
    create_assistant(store, tokenizer, "Bank", "exact", PROMPT, assistant_id="bank")
    return store


def add(bank: Store, adapters: Path, activate: bool = True) -> Deployment:
    """The next adapter, published and deployed without the role."""
    run = bank.runs.start("bank", {}, "test")
    name = f"bank-v{run.id:04}"
    path = write_adapter(adapters, name)
    bank.adapters.add(name, "bank", run.id, str(path), "hash")
    prompt = bank.prompts.latest("bank")
    deployment = bank.deployments.add("bank", prompt.id, name, ["short"], 1, 5, run.id)
    return bank.deployments.activate(deployment.id) if activate else deployment


@pytest.mark.parametrize(
    "expected",
    [[(5, -1.05)] * 8, [(5, -1.0), (7, -1.01), *[(8, -9.0)] * 6]],
    ids=["nearly equal", "a near tie after which the two part"],
)
def test_equal_log_probabilities_pass(vllm: FakeVllm, expected: list[tuple[int, float]]) -> None:
    on(vllm, lambda pool: check_parity(pool, "base", IDS, expected))


@pytest.mark.parametrize("ln_p", [-1.5, math.nan, -math.inf])
def test_a_server_that_computes_something_else_is_refused(vllm: FakeVllm, ln_p: float) -> None:
    with pytest.raises(ParityError, match="nats.*base model"):
        on(vllm, lambda pool: check_parity(pool, "base", IDS, [(5, ln_p)] * 8))


def test_a_base_model_that_stays_itself_passes_and_one_that_an_adapter_answers_for_is_found_out(
    vllm: FakeVllm,
) -> None:
    vllm.adapters["bank-v0001"] = "/somewhere"
    on(vllm, lambda pool: check_base_is_base(pool, IDS, "bank-v0001"))
    vllm.mixes_batches = True
    with pytest.raises(ParityError, match="--worker-extension-cls assistant.vllm_extension.Extension"):
        on(vllm, lambda pool: check_base_is_base(pool, IDS, "bank-v0001"))


def test_a_swap_warms_the_new_prompt_and_then_flips(
    bank: Store, vllm: FakeVllm, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    before = bank.deployments.active("bank")
    assert before is not None
    candidate = add(bank, tmp_path, activate=False)
    vllm.adapters["bank-v0001"] = str(tmp_path / "bank-v0001")

    after = on(vllm, lambda pool: hot_swap(bank, pool, tokenizer, tmp_path, candidate, before))

    assert bank.deployments.active("bank") == after and after.status is DeploymentStatus.ACTIVE
    assert bank.deployments.get(before.id).status is DeploymentStatus.RETIRED
    (warm_up,) = vllm.asked()
    shown = tokenizer.decode(warm_up["prompt"])
    assert warm_up["model"] == "bank-v0001"
    assert "Answer with one word." in shown and "helpful" not in shown


@pytest.mark.parametrize(
    ("is_loaded", "error"),
    [(True, Conflict), (False, VllmError)],
    ids=["another is active", "cannot warm up"],
)
def test_a_swap_that_is_refused_changes_nothing(
    bank: Store,
    vllm: FakeVllm,
    tokenizer: ChatTokenizer,
    tmp_path: Path,
    is_loaded: bool,
    error: type[Exception],
) -> None:
    before = bank.deployments.active("bank")
    newer = add(bank, tmp_path)
    candidate = add(bank, tmp_path, activate=False)
    if is_loaded:
        vllm.adapters["bank-v0002"] = str(tmp_path / "bank-v0002")
    with pytest.raises(error):
        on(vllm, lambda pool: hot_swap(bank, pool, tokenizer, tmp_path, candidate, before))
    assert bank.deployments.active("bank") == newer and not vllm.adapters
    assert bank.deployments.get(candidate.id).status is DeploymentStatus.REJECTED


def loaded(bank: Store, vllm: FakeVllm, adapters: Path, count: int) -> list[Deployment]:
    """So many deployments, one after the other, all of them on the server."""
    found = [add(bank, adapters) for _ in range(count)]
    vllm.adapters |= {str(deployment.adapter): "/somewhere" for deployment in found}
    return found


def test_the_active_and_the_previous_adapter_stay_loaded_as_do_both_sides_of_a_rollback(
    bank: Store, vllm: FakeVllm, tmp_path: Path
) -> None:
    loaded(bank, vllm, tmp_path, 4)
    vllm.adapters["other-v0001"] = "/of another assistant"
    on(vllm, lambda pool: unload_older(bank, pool, "bank"))
    assert set(vllm.adapters) == {"bank-v0003", "bank-v0004", "other-v0001"}
    bank.deployments.rollback("bank", "worse")
    on(vllm, lambda pool: unload_older(bank, pool, "bank"))
    assert set(vllm.adapters) == {"bank-v0003", "bank-v0004", "other-v0001"}


def start_answer(bank: Store, deployment: Deployment) -> str:
    conversation = bank.conversations.create("bank", title="Hi", owner="local")
    question = bank.messages.add(conversation.id, None, Role.USER, "Hi")
    return bank.messages.add(
        conversation.id, question.id, Role.ASSISTANT, "", MessageStatus.STREAMING, deployment.id
    ).id


def test_an_adapter_with_a_running_answer_is_unloaded_once_it_has_finished(
    bank: Store, vllm: FakeVllm, tmp_path: Path
) -> None:
    running = start_answer(bank, loaded(bank, vllm, tmp_path, 3)[0])

    async def act(pool: VllmPool) -> None:
        unloading = asyncio.create_task(unload_older(bank, pool, "bank"))
        await asyncio.sleep(0.2)
        assert "bank-v0001" in vllm.adapters and not unloading.done()
        bank.messages.finish(running, "Done.", MessageStatus.COMPLETE)
        await unloading

    on(vllm, act)
    assert "bank-v0001" not in vllm.adapters


def test_an_answer_that_never_ends_keeps_its_adapter(
    bank: Store, vllm: FakeVllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "_WAIT_S", 0.0)
    start_answer(bank, loaded(bank, vllm, tmp_path, 3)[0])
    on(vllm, lambda pool: unload_older(bank, pool, "bank"))
    assert "bank-v0001" in vllm.adapters


def test_an_adapter_of_another_base_model_is_never_loaded(
    bank: Store, vllm: FakeVllm, tmp_path: Path
) -> None:
    deployment = add(bank, tmp_path)
    with pytest.raises(BadAdapter, match="another base model"):
        on(vllm, lambda pool: load_deployment(pool, deployment, tmp_path, "other"))
    assert not vllm.requests


def test_the_probe_measures_cold_and_warm_in_turn(vllm: FakeVllm, tokenizer: ChatTokenizer) -> None:
    vllm.adapters["bank-v0001"] = "/somewhere"
    variants = {"full": ("base", ["role", "short"]), "short": ("bank-v0001", ["short"])}
    told: list[tuple[int, int]] = []
    result = on(
        vllm,
        lambda pool: measure_latency(pool, tokenizer, PROMPT, variants, "Hi", lambda *at: told.append(at)),
    )
    for name in variants:
        for state in ("cold", "warm"):
            timing = result[name][state]
            assert timing["n"] == REPEATS and 0 < timing["low_s"] <= timing["median_s"] <= timing["high_s"]
    salts = [body.get("cache_salt") for body in vllm.asked()]
    cold = [salt for salt in salts if salt]
    assert len(cold) == len(set(cold)) == 2 * REPEATS and len(salts) == 4 * REPEATS + 2
    assert told[-1] == (REPEATS, REPEATS)
