"""Several servers as one; background requests wait for people's answers, and go on all the same."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fake_vllm import FakeVllm

from assistant import vllm_pool
from assistant.vllm_client import UnknownModel, VllmClient, VllmRefused, VllmUnreachable
from assistant.vllm_pool import AdmissionControl, VllmPool, base_model


@pytest.fixture
def two() -> Iterator[list[FakeVllm]]:
    fakes = [FakeVllm(), FakeVllm()]
    with ExitStack() as stack:
        for fake in fakes:
            stack.enter_context(fake.serving())
        yield fakes


@pytest.fixture
def adapter_dir(tmp_path: Path) -> str:
    (tmp_path / "adapter_config.json").write_text("{}")
    return str(tmp_path)


def with_pool(fakes: list[FakeVllm], act: Callable[[VllmPool], Awaitable[object]]) -> object:
    async def whole() -> object:
        pool = await VllmPool.connect([fake.url for fake in fakes], None)
        try:
            return await act(pool)
        finally:
            await pool.close()

    return asyncio.run(whole())


def test_connecting_learns_the_base_models_name_and_refuses_servers_of_different_ones(
    two: list[FakeVllm],
) -> None:
    two[0].base = two[1].base = "my-llama"
    assert "my-llama" in with_pool(two, lambda pool: pool.models())
    two[1].base = "other"
    with pytest.raises(VllmRefused, match="my-llama, other"):
        with_pool(two, lambda pool: pool.models())


def test_an_adapter_is_loaded_on_every_server(two: list[FakeVllm], adapter_dir: str) -> None:
    async def act(pool: VllmPool) -> set[str]:
        await pool.load_adapter("bank-v0001", adapter_dir)
        return await pool.models()

    assert with_pool(two, act) == {"base", "bank-v0001"}
    assert all(list(fake.adapters) == ["bank-v0001"] for fake in two)


def test_what_is_loaded_already_stays_whoever_loaded_it(two: list[FakeVllm], adapter_dir: str) -> None:
    """A server that was started again lacks the adapter for every request that comes to it: one of them is first."""

    async def act(pool: VllmPool) -> None:
        await asyncio.gather(*(pool.load_adapter("bank-v0001", adapter_dir) for _ in range(3)))

    with_pool(two, act)
    assert all([*fake.adapters] == ["bank-v0001"] for fake in two)
    assert not any(fake.asked("/v1/unload_lora_adapter") for fake in two)


@pytest.mark.parametrize("answers_already", [False, True])
def test_an_adapter_that_one_server_refuses_is_loaded_on_none_and_stays_where_it_was(
    two: list[FakeVllm], adapter_dir: str, answers_already: bool
) -> None:
    """Loading again what one server forgot must not take it from the server that still serves people with it."""
    two[0].adapters |= {"bank-v0001": adapter_dir} if answers_already else {}
    two[1].max_loras = 0
    with pytest.raises(VllmRefused, match="slots"):
        with_pool(two, lambda pool: pool.load_adapter("bank-v0001", adapter_dir))
    assert list(two[0].adapters) == ["bank-v0001"] * answers_already and not two[1].adapters


def test_a_request_goes_to_the_server_with_the_fewest_running(two: list[FakeVllm]) -> None:
    two[0].holds_after = two[1].holds_after = 0

    async def act(pool: VllmPool) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(pool.pick().complete("base", (5, 6), max_tokens=3, end_ids=(2,)))
                await asyncio.sleep(0.02)
            for fake in two:
                fake.go_on.set()

    with_pool(two, act)
    assert [len(fake.asked()) for fake in two] == [2, 2]


def test_unloading_is_best_effort_and_says_what_went_wrong(two: list[FakeVllm], adapter_dir: str) -> None:
    two[0].adapters["bank-v0001"] = adapter_dir

    async def act() -> list[str]:
        pool = VllmPool([VllmClient(two[0].url), VllmClient("http://127.0.0.1:9")])
        try:
            return await pool.unload_adapter("bank-v0001")
        finally:
            await pool.close()

    (problem,) = asyncio.run(act())
    assert "127.0.0.1:9" in problem and not two[0].adapters


@pytest.mark.parametrize("away", [0, 1])
def test_while_one_server_is_away_the_other_one_answers_and_loads(
    two: list[FakeVllm], adapter_dir: str, away: int
) -> None:
    two[away]._end()

    async def act(pool: VllmPool) -> list[object]:
        await pool.load_adapter("bank-v0001", adapter_dir)
        await pool.need_adapter("bank-v0001", adapter_dir)
        return [item async for item in pool.stream("bank-v0001", (5, 6), max_tokens=3, end_ids=(2,))]

    found = with_pool(two, act)
    assert isinstance(found, list) and found[0] == "ok"
    assert list(two[1 - away].adapters) == ["bank-v0001"]


def test_a_server_that_dies_before_its_first_word_is_passed_over_and_one_that_dies_later_is_not(
    two: list[FakeVllm],
) -> None:
    async def act(pool: VllmPool) -> list[object]:
        two[0]._end()
        first = [item async for item in pool.stream("base", (5, 6), max_tokens=3, end_ids=(2,))]
        assert pool.away == {two[0].url}
        two[1].dies_after = 1
        two[1].answer = lambda model, ids: "two words"
        with pytest.raises(VllmUnreachable):
            async for item in pool.stream("base", (5, 6), max_tokens=3, end_ids=(2,)):
                first.append(item)
        return first

    found = with_pool(two, act)
    assert isinstance(found, list) and [one for one in found if isinstance(one, str)] == ["ok", "two"]


def test_every_stream_of_a_server_that_dies_before_its_first_word_is_asked_again(two: list[FakeVllm]) -> None:
    """Also those that find that another one has found it out."""
    two[0].holds_after = two[1].holds_after = 0

    async def act(pool: VllmPool) -> list[list[object]]:
        async def ask() -> list[object]:
            return [item async for item in pool.stream("base", (5, 6), max_tokens=3, end_ids=(2,))]

        asked = [asyncio.create_task(ask()) for _ in range(8)]
        while sum(fake.streams for fake in two) < 8:
            await asyncio.sleep(0.005)
        await asyncio.to_thread(two[0]._end)
        two[1].go_on.set()
        return await asyncio.gather(*asked)

    found = with_pool(two, act)
    assert isinstance(found, list) and [answer[0] for answer in found] == ["ok"] * 8


def test_an_answer_in_one_piece_is_asked_for_elsewhere_too(two: list[FakeVllm]) -> None:
    async def act(pool: VllmPool) -> str:
        two[0]._end()
        return (await pool.complete("base", (5, 6), max_tokens=3, end_ids=(2,))).text

    assert with_pool(two, act) == "ok"


def test_what_is_asked_of_all_goes_on_without_one_that_dies_and_fails_where_one_refuses(
    two: list[FakeVllm], adapter_dir: str
) -> None:
    async def act(pool: VllmPool) -> set[str]:
        two[1]._end()
        await pool.load_adapter("bank-v0001", adapter_dir)
        await pool.need_adapter("bank-v0001", adapter_dir)
        assert pool.away == {two[1].url}
        two[0].restart()
        with pytest.raises(UnknownModel):
            await pool.need_adapter("bank-v0001", adapter_dir)
        return await pool.models()

    assert with_pool(two, act) == {"base"}


def test_a_conversation_stays_on_its_server_unless_that_is_busier_or_away() -> None:
    urls = [f"http://10.0.0.{number}:8000" for number in range(5)]
    pool = VllmPool([VllmClient(url) for url in urls])
    names = [f"talk-{number}" for number in range(200)]
    home = {name: pool.pick(name) for name in names}
    assert all(20 <= list(home.values()).count(client) <= 60 for client in pool.each())
    gone = home[names[0]]
    gone.in_flight = vllm_pool._BUSIER - 1
    assert pool.pick(names[0]) is gone
    gone.in_flight += 1
    assert pool.pick(names[0]) is not gone and pool.pick() is not gone
    gone.in_flight = 0
    pool.away.add(gone.url)
    moved = [name for name in names if pool.pick(name) is not home[name]]
    assert moved == [name for name in names if home[name] is gone], "no other conversation moves"
    pool.away.clear()
    assert {name: pool.pick(name) for name in names} == home
    asyncio.run(pool.close())


class Members:
    urls: tuple[str, ...] = ("http://10.0.0.1:8000",)
    away = set[str]()


def test_a_pool_follows_the_servers_that_there_are() -> None:
    servers = Members()
    pool = VllmPool.following(servers, "key")
    first = pool.pick()
    servers.urls = ("http://10.0.0.1:8000", "http://10.0.0.2:8000")
    assert [client.url for client in pool.each()] == [*servers.urls] and pool.each()[0] is first
    servers.away.add("http://10.0.0.2:8000")
    assert pool.each() == [first]
    servers.urls, servers.away = ("http://10.0.0.2:8000",), servers.away
    assert [client.url for client in pool.each()] == ["http://10.0.0.2:8000"], (
        "all of them, where none is left"
    )
    asyncio.run(pool.close())


def test_when_all_servers_are_away_the_error_says_so(two: list[FakeVllm]) -> None:
    for fake in two:
        fake._end()
    with pytest.raises(VllmUnreachable, match="No answer from vLLM"):
        with_pool(two, lambda pool: pool.models())


def test_the_context_is_what_every_server_has_room_for(two: list[FakeVllm]) -> None:
    two[1].max_model_len = 512

    async def context(pool: VllmPool) -> int | None:
        return pool.context

    assert with_pool(two, context) == 512


def test_a_server_without_a_base_model_is_no_server(two: list[FakeVllm]) -> None:
    with pytest.raises(VllmUnreachable, match="lists no base model"):
        base_model([], "http://x")


class Scene:
    """A clock that the test moves, so many answers that people wait for, and background requests that never end."""

    def __init__(self) -> None:
        self.now, self.answering, self.admitted = 0.0, 0, 0
        self.end = asyncio.Event()

    async def request(self, control: AdmissionControl) -> None:
        async with control:
            self.admitted += 1
            await self.end.wait()


@pytest.mark.parametrize(
    ("quiet_s", "servers", "expected"),
    [
        (0.0, 1, [1, 2, 16]),
        (24.0, 1, [1, 2, 16]),
        (31.0, 1, [32, 32, 32]),
        (0.0, 2, [1, 3, 32]),
        (31.0, 2, [64, 64, 64]),
    ],
)
def test_few_are_admitted_beside_people_one_by_one_and_many_when_nobody_has_chatted_for_a_while(
    monkeypatch: pytest.MonkeyPatch, quiet_s: float, servers: int, expected: list[int]
) -> None:
    """Admitted at once, after 0.25 s and after 5 s; with two servers twice as many come in the same time."""
    monkeypatch.setattr(vllm_pool, "_POLL_S", 0)

    async def act() -> list[int]:
        scene = Scene()
        control = AdmissionControl(lambda: scene.answering, servers, clock=lambda: scene.now)
        scene.answering = 1
        requests = [asyncio.create_task(scene.request(control)) for _ in range(80)]
        admitted = []
        for step in range(41):
            for _ in range(100):
                await asyncio.sleep(0)
            scene.answering = 0
            admitted.append(scene.admitted)
            scene.now = quiet_s + step * 0.125
        scene.end.set()
        while not all(request.done() for request in requests):
            scene.now += 1
            await asyncio.sleep(0)
        assert scene.admitted == 80
        assert admitted[0] == 0, "while an answer is in flight"
        return [admitted[1], admitted[3], admitted[-1]]

    assert asyncio.run(act()) == expected


def test_none_begins_while_an_answer_is_in_flight_until_it_has_waited_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vllm_pool, "_POLL_S", 0)

    async def act() -> list[int]:
        scene = Scene()
        control = AdmissionControl(lambda: scene.answering, clock=lambda: scene.now)
        scene.answering = 1
        requests = [asyncio.create_task(scene.request(control)) for _ in range(3)]
        admitted = []
        for now in (0.0, 4.9, 5.1, 20.0):
            scene.now = now
            for _ in range(10):
                await asyncio.sleep(0)
            admitted.append(scene.admitted)
        scene.answering = 0
        for _ in range(30):
            scene.now += 0.1
            await asyncio.sleep(0)
        scene.end.set()
        await asyncio.gather(*requests)
        return [*admitted, scene.admitted]

    assert asyncio.run(act()) == [0, 0, 1, 1, 3], "one at a time, where people ask without a pause"
