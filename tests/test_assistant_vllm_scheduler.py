"""vLLM's real scheduler, without a model: what is in the batch of each step while some requests can wait."""

from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from vllm.config import CacheConfig, DeviceConfig, ModelConfig, SchedulerConfig, VllmConfig
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request
from vllm.v1.structured_output import StructuredOutputManager

from assistant import vllm_scheduler
from assistant.vllm_scheduler import Least, Room, Scheduler
from tests import tiny_model

BLOCK, PROMPT, ANSWER = 16, 48, 8


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny_model.write_tokenizer(tmp_path)
    return tiny_model.write_model(tmp_path)


@pytest.fixture
def make(model: Path) -> Callable[..., Scheduler]:
    init_none_hash(sha256)

    def scheduler(blocks: int = 1000) -> Scheduler:
        model_config = ModelConfig(model=str(model), dtype="float32", max_model_len=256)
        cache = CacheConfig(block_size=BLOCK, enable_prefix_caching=True)
        cache.num_gpu_blocks = blocks
        config = VllmConfig(
            model_config=model_config,
            cache_config=cache,
            device_config=DeviceConfig("cpu"),
            scheduler_config=SchedulerConfig(
                max_num_seqs=64, max_num_batched_tokens=2048, max_model_len=256, is_encoder_decoder=False,
                policy="priority", async_scheduling=False,
            ),
        )  # fmt: skip
        spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=1, dtype=torch.float32)
        return Scheduler(
            vllm_config=config,
            kv_cache_config=KVCacheConfig(blocks, [], [KVCacheGroupSpec(["layer"], spec)]),
            structured_output_manager=StructuredOutputManager(config),
            block_size=BLOCK,
        )

    return scheduler


def ask(scheduler: Scheduler, names: Iterable[str], priority: int = 0) -> None:
    for number, name in enumerate(names):
        params = SamplingParams(max_tokens=ANSWER, ignore_eos=True)
        params.update_from_generation_config({}, 1)
        scheduler.add_request(
            Request(
                name, [100 * priority + number] * PROMPT, params, None, arrival_time=number, priority=priority,
                block_hasher=get_request_block_hasher(BLOCK, sha256),
            )
        )  # fmt: skip


def step(scheduler: Scheduler) -> dict[str, int]:
    """Tokens of each request in the next batch, which is then computed."""
    planned: SchedulerOutput = scheduler.schedule()
    names = list(planned.num_scheduled_tokens)
    done = [[7] if not scheduler.requests[name].is_prefill_chunk else [] for name in names]
    output = ModelRunnerOutput(
        req_ids=names, req_id_to_index={name: n for n, name in enumerate(names)}, sampled_token_ids=done
    )
    scheduler.update_from_output(planned, output)
    return dict(planned.num_scheduled_tokens)


def finish(scheduler: Scheduler, steps: int = 2000) -> list[dict[str, int]]:
    batches = []
    while scheduler.has_unfinished_requests():
        batches.append(step(scheduler))
        assert len(batches) < steps, "it does not end"
    return batches


def test_a_question_is_read_alone_and_the_rest_goes_on_beside_its_answer(
    make: Callable[..., Scheduler],
) -> None:
    scheduler = make()
    ask(scheduler, ["gate1", "gate2"], priority=1)
    while len(scheduler.running) < 2:
        step(scheduler)
    ask(scheduler, ["gate3"], priority=1)
    ask(scheduler, ["person"])
    assert step(scheduler) == {"person": PROMPT}
    beside = step(scheduler)
    assert beside.pop("person") == 1
    assert beside
    answered = [one for one in finish(scheduler) if "person" in one]
    assert len(answered) == ANSWER - 2


def test_every_answer_comes_whole_whatever_comes_between(make: Callable[..., Scheduler]) -> None:
    scheduler = make()
    ask(scheduler, [f"gate{n}" for n in range(20)], priority=1)
    read: dict[str, int] = {}
    for number in range(30):
        if number % 3 == 0:
            ask(scheduler, [f"person{number}"])
        for name, tokens in step(scheduler).items():
            read[name] = read.get(name, 0) + tokens
    for batch in finish(scheduler):
        for name, tokens in batch.items():
            read[name] = read.get(name, 0) + tokens
    assert len(read) == 30
    # Each token once: the last one is not read again, and nothing that was held back was read twice.
    assert set(read.values()) <= {PROMPT + ANSWER - 1, PROMPT + ANSWER - 1 - BLOCK * 2}


def test_what_can_wait_takes_no_more_than_its_room(make: Callable[..., Scheduler]) -> None:
    scheduler = make()
    ask(scheduler, [f"gate{n}" for n in range(20)], priority=1)
    while scheduler.has_unfinished_requests():
        room = scheduler._room.tokens
        assert 0 < sum(step(scheduler).values()) <= room


def test_questions_alone_are_vllms_own_batches(make: Callable[..., Scheduler]) -> None:
    scheduler = make()
    ask(scheduler, [f"person{n}" for n in range(20)])
    assert sum(step(scheduler).values()) == 20 * PROMPT


def test_a_gate_goes_on_where_people_ask_without_a_pause(
    make: Callable[..., Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_scheduler, "_HELD_BACK", 3)
    scheduler = make()
    ask(scheduler, ["gate"], priority=1)
    step(scheduler)
    batches = []
    for number in range(16):
        ask(scheduler, [f"person{number}"])
        batches.append(step(scheduler))
    assert ["gate" in one for one in batches] == [False, False, False, True] * 4


def test_a_gate_goes_on_beside_a_prompt_of_many_steps(
    make: Callable[..., Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its turn takes nothing from the prompt that is read in the same step."""
    monkeypatch.setattr(vllm_scheduler, "_HELD_BACK", 1)
    scheduler = make()
    ask(scheduler, ["gate"], priority=1)
    while scheduler.requests["gate"].num_computed_tokens < PROMPT:
        step(scheduler)
    scheduler.max_num_scheduled_tokens = 20  # as of a prompt longer than one batch of the server
    ask(scheduler, ["person"])
    assert step(scheduler) == {"person": 20}
    monkeypatch.setattr(scheduler, "max_num_scheduled_tokens", 2048)
    assert step(scheduler) == {"person": PROMPT - 20, "gate": 1}


def test_memory_that_is_held_back_is_given_free(make: Callable[..., Scheduler]) -> None:
    """Two of a gate's have nearly all the memory: the question waits for one of them, and not for ever."""
    scheduler = make(blocks=1 + 2 * 4)
    ask(scheduler, ["gate1", "gate2"], priority=1)
    while len(scheduler.running) < 2 or any(one.is_prefill_chunk for one in scheduler.running):
        step(scheduler)
    ask(scheduler, ["person"])
    names = {name for batch in finish(scheduler) for name in batch}
    assert names == {"gate1", "gate2", "person"}


def test_room_follows_the_length_of_steps() -> None:
    room = Room(most=256)
    for _ in range(100):  # a machine that takes 10 ms and 1 ms a token
        room.learn(room.tokens, 0.01 + 0.001 * room.tokens, allowed_s=0.1)
        if room.tokens > 90:
            break
    else:
        pytest.fail(f"only {room.tokens}")
    room.learn(room.tokens, 0.2, allowed_s=0.1)
    assert room.tokens < 75
    before = room.tokens
    room.learn(3, 0.02, allowed_s=0.1)  # a short step that had no more to do proves nothing
    assert room.tokens == before


def test_room_has_bounds() -> None:
    room = Room(most=20)
    for _ in range(50):
        room.learn(room.tokens, 1.0, allowed_s=0.1)
    assert room.tokens == 1
    for _ in range(50):
        room.learn(room.tokens, 0.0, allowed_s=0.1)
    assert room.tokens == 20


def test_a_gate_advances_on_a_machine_that_is_slow_at_everything() -> None:
    """0.15 s for a step of one token and 5 ms for each further one: a limit of 0.1 s would leave the room at one."""
    least, room = Least(), Room(most=256)
    for _ in range(200):
        seconds = 0.15 + 0.005 * (room.tokens - 1)
        least.learn(room.tokens, seconds)
        room.learn(room.tokens, seconds, max(0.1, 2 * least.seconds))
    assert 20 < room.tokens < 40
    assert least.seconds == pytest.approx(0.15, rel=0.1)


def test_what_hardly_anything_takes_follows_the_machine_and_not_large_steps() -> None:
    least = Least()
    least.learn(1, 0.05)
    assert least.seconds == 0.05
    for _ in range(100):
        least.learn(300, 2.0)
    assert least.seconds == 0.05
    for _ in range(100):
        least.learn(1, 0.1)
    assert least.seconds == pytest.approx(0.1, rel=0.01)


def test_the_scheduler_allows_longer_steps_where_the_shortest_are_long(
    make: Callable[..., Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]

    def monotonic() -> float:
        clock[0] += 0.15  # between the beginning and the end of a step
        return clock[0]

    monkeypatch.setattr(vllm_scheduler, "time", SimpleNamespace(monotonic=monotonic))
    scheduler = make()
    ask(scheduler, [f"gate{n}" for n in range(40)], priority=1)
    rooms = []
    for number in range(200):
        if number % 20 == 0:
            ask(scheduler, [f"person{number}"])
        step(scheduler)
        rooms.append(scheduler._room.tokens)
    assert scheduler._least.seconds == pytest.approx(0.15)
    assert max(rooms[-20:]) > 8, rooms


def test_vllm_finds_it_under_the_name_that_it_is_given() -> None:
    from assistant.vllm_server import _ON_CPU

    config = SchedulerConfig(
        max_model_len=256,
        is_encoder_decoder=False,
        scheduler_cls=_ON_CPU[_ON_CPU.index("--scheduler-cls") + 1],
    )
    assert config.get_scheduler_cls() is Scheduler
