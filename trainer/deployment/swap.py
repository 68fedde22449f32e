"""Loads and checks a published adapter, activates it without dropping a request, measures that, and rolls back.

Running answers finish on the adapter that they started with: it stays loaded, as the previous one, for an instant
rollback.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from assistant.adapter_files import fingerprint
from assistant.rendering import keep, render
from assistant.serving import ServerAddress, load_deployment, warm
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import VllmClient, VllmError
from assistant.vllm_pool import VllmPool
from store import Store, StoreError
from store.records import Deployment, Role, Segment

# Mean absolute difference of log-probabilities, in nats. float32 on one machine differs by under 0.01; bfloat16
# kernels by up to 0.05; a wrong base model or a wrong scale by more than 0.5.
_PARITY = 0.1
_TOKENS = 8
_WAIT_S = 120.0
REPEATS = 5  # of each time that is measured


class ParityError(Exception):
    """The server computes other probabilities than the trainer did: another base model, or a broken adapter."""


async def load_checked(
    pool: VllmPool, name: str, adapters: Path, ids: Sequence[int], expected: Sequence[tuple[int, float]]
) -> None:
    """Load a published adapter and check what the server makes of it; what fails a check is unloaded again.

    `expected` are the tokens that follow `ids` greedily in the trainer, with ln p. Raises VllmError, ParityError.
    """
    await pool.load_adapter(name, str((adapters / name).resolve()))
    try:
        await check_parity(pool, name, ids, expected)
        await check_base_is_base(pool, ids, name)
    except BaseException:
        await pool.unload_adapter(name)
        raise


async def check_parity(
    pool: VllmPool, model: str, ids: Sequence[int], expected: Sequence[tuple[int, float]]
) -> None:
    """Compare the next greedy tokens and their ln p with the trainer's; raises ParityError."""

    async def check(client: VllmClient) -> None:
        async with pool.background():
            found = await client.greedy(model, ids, len(expected))
        distance = _distance(found, expected)
        if not distance <= _PARITY:
            raise ParityError(
                f"{client.url} gives “{model}” log-probabilities that differ by {distance:.3f} nats on average "
                f"({_PARITY} allowed). Does it serve the base model that the adapter was trained on?"
            )

    await pool.on_each(check)


async def check_base_is_base(pool: VllmPool, ids: Sequence[int], adapter: str) -> None:
    """Base-model requests in one batch with adapter requests must stay base-model answers; raises ParityError.

    vLLM 0.32 on CPU answers them with whatever adapter has the last LoRA slot, unless our extension runs in it.
    """

    async def check(client: VllmClient) -> None:
        async with pool.background():
            alone = await client.greedy(pool.base, ids, _TOKENS)
            together = await asyncio.gather(
                *(client.greedy(name, ids, _TOKENS) for name in (adapter, pool.base, adapter, pool.base))
            )
        for mixed in (together[1], together[3]):
            distance = _distance(mixed, alone)
            if not distance <= _PARITY:
                raise ParityError(
                    f"{client.url} answers base-model requests with an adapter of the same batch (differs by "
                    f"{distance:.3f} nats). Start vLLM again with --worker-extension-cls "
                    "assistant.vllm_extension.Extension, with Shorthand's folder in PYTHONPATH."
                )

    await pool.on_each(check)


def _distance(found: Sequence[tuple[int, float]], expected: Sequence[tuple[int, float]]) -> float:
    """Mean absolute difference of ln p, up to and including the first token that is not the same.

    Greedy decoding may part at a near tie, where both ln p are alike; what follows cannot be compared.
    """
    gaps = []
    for (token, ln_p), (other, other_ln_p) in zip(found, expected, strict=True):
        gaps.append(abs(ln_p - other_ln_p))
        if token != other:
            break
    return float(np.mean(gaps))


async def hot_swap(
    store: Store,
    pool: VllmPool,
    tokenizer: ChatTokenizer,
    adapters: Path,
    candidate: Deployment,
    active: Deployment | None,
) -> Deployment:
    """Warm the candidate's prompt in the prefix cache, so that the next person does not pay for it, then activate it.

    What answered the warm-up is looked at once more: a server that was started again meanwhile may serve another
    adapter of that name. Where any of it fails, the candidate is unloaded and rejected: VllmError, or StoreError
    (Conflict where `active` is active no more).
    """
    try:
        await warm(store, pool, tokenizer, candidate)
        if candidate.adapter is not None:
            await pool.need_adapter(candidate.adapter, str((adapters / candidate.adapter).resolve()))
        return store.deployments.activate(candidate.id, expect_active=active.id if active else None)
    except (VllmError, StoreError) as error:
        if candidate.adapter is not None:
            await pool.unload_adapter(candidate.adapter)
        store.deployments.reject(candidate.id, str(error))
        raise


async def measure_latency(
    pool: VllmPool,
    tokenizer: ChatTokenizer,
    segments: Sequence[Segment],
    variants: Mapping[str, tuple[str, Sequence[str]]],
    question: str,
    progress: Callable[[int, int], None],
) -> dict[str, dict[str, Any]]:
    """The time to the first token of each variant (model name, kept segment ids), cold and warm.

    One after the other in every round, so that the machine's noise hits all alike. A cold request has a `cache_salt` of
    its own, so that vLLM finds no cached prefix.
    """
    client = pool.pick()
    times: dict[tuple[str, str], list[float]] = {}
    requests = {
        name: (model, render(tokenizer, keep(segments, segment_ids), ((Role.USER, question),)).ids)
        for name, (model, segment_ids) in variants.items()
    }
    for model, ids in requests.values():  # fill the shared cache once, so that warm means warm
        await client.complete(model, ids, max_tokens=1, end_ids=tokenizer.end_ids)
    for turn in range(REPEATS):
        for name, (model, ids) in requests.items():
            for state in ("cold", "warm"):
                salt = secrets.token_hex(8) if state == "cold" else None
                async with pool.background():
                    answer = await client.complete(
                        model, ids, max_tokens=1, end_ids=tokenizer.end_ids, cache_salt=salt
                    )
                times.setdefault((name, state), []).append(answer.first_token_s)
        progress(turn + 1, REPEATS)
    result: dict[str, dict[str, Any]] = {name: {} for name in requests}
    for (name, state), s in times.items():
        result[name][state] = {"median_s": median(s), "low_s": min(s), "high_s": max(s), "n": len(s)}
    return result


async def unload_older(store: Store, pool: VllmPool, assistant_id: str) -> None:
    """Unload what is neither active nor the previous one, once its running answers have finished."""
    history = [
        store.deployments.get(item.deployment_id).adapter
        for item in store.deployments.activations(assistant_id)
    ]
    keep_loaded = list(dict.fromkeys(reversed(history)))[:2]
    served = await pool.models()
    for adapter in store.adapters.all(assistant_id):
        if adapter.name in served and adapter.name not in keep_loaded and await _idle(store, adapter.name):
            await pool.unload_adapter(adapter.name)


async def _idle(store: Store, adapter: str) -> bool:
    waited = 0.0
    while store.messages.streaming_count(adapter) and waited < _WAIT_S:
        await asyncio.sleep(0.5)
        waited += 0.5
    return not store.messages.streaming_count(adapter)


def roll_back(store: Store, data_dir: Path, assistant_id: str, reason: str) -> Deployment:
    """Activate the deployment before the active one and load its adapter.

    Raises StoreError when there is none; NoServer, VllmError, BadAdapter once the rollback is recorded.
    """
    deployment = store.deployments.rollback(assistant_id, reason)
    asyncio.run(_load(deployment, data_dir))
    return deployment


async def _load(deployment: Deployment, data_dir: Path) -> None:
    address = ServerAddress.read(data_dir)
    pool = await VllmPool.connect(address.urls, address.key)
    try:
        base = fingerprint(Path(address.model_dir))
        await load_deployment(pool, deployment, data_dir / "adapters", base)
    finally:
        await pool.close()
