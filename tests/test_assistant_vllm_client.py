"""One server: what streams, what it costs, and what each way to fail is called."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_vllm import FakeVllm

from assistant import vllm_connection
from assistant.vllm_client import (
    Completion,
    UnknownModel,
    VllmClient,
    VllmError,
    VllmRefused,
    VllmUnreachable,
)
from assistant.vllm_health import is_broken, is_healthy

IDS = tuple(range(3, 40))


def ask(vllm: FakeVllm, act: Callable[[VllmClient], Awaitable[object]], key: str | None = None) -> object:
    async def whole() -> object:
        client = VllmClient(vllm.url, key)
        try:
            return await act(client)
        finally:
            assert client.in_flight == 0
            await client.close()

    return asyncio.run(whole())


async def answer(client: VllmClient, model: str = "base", salt: str | None = None) -> Completion:
    return await client.complete(model, IDS, max_tokens=8, end_ids=(2,), cache_salt=salt)


async def stream(client: VllmClient) -> list[str | Completion]:
    return [item async for item in client.stream("base", IDS, max_tokens=8, end_ids=(2,))]


def test_an_answer_streams_in_pieces_or_comes_whole_and_ends_with_its_cost(vllm: FakeVllm) -> None:
    vllm.answer = lambda model, ids: "one two three"
    vllm.ln_p = lambda piece: -2.0 if piece == " two" else -0.5
    *pieces, end = ask(vllm, stream)
    assert pieces == ["one", " two", " three"] and vllm.asked()[0]["logprobs"] == 0
    assert 0 < end.first_token_s <= end.total_s < 10 and end.mean_ln_p == pytest.approx(-1.0)
    for whole in (end, ask(vllm, answer)):
        assert whole.text == "one two three"
        assert (whole.prompt_tokens, whole.completion_tokens, whole.cached_tokens) in (
            (37, 4, 0),
            (37, 4, 32),
        )


NO_STREAM = ["{", "[]", "null", '{"choices": null}', '{"choices": [1]}', '{"choices": [{"text": 1}]}']
NO_STREAM += ['{"usage": [1]}', '{"usage": {"prompt_tokens": -1}}', "[" * 9999]
NO_ANSWER = [
    "[]",
    '{"choices": []}',
    '{"choices": [{"text": null}]}',
    '{"choices": [{"text": "x"}], "usage": "1"}',
]


@pytest.mark.parametrize(
    ("act", "said"),
    [*((stream, f"data: {said}\n\n") for said in NO_STREAM), *((answer, said) for said in NO_ANSWER)],
)
def test_a_server_that_is_no_vllm_is_refused_in_words(
    act: Callable[[VllmClient], Awaitable[object]], said: str
) -> None:
    async def ask_it() -> None:
        reply = httpx.MockTransport(lambda request: httpx.Response(200, text=said))
        client = VllmClient("http://127.0.0.1:9", transport=reply)
        with pytest.raises(VllmRefused, match="is no vLLM's"):
            await act(client)
        await client.close()

    asyncio.run(ask_it())


def test_pieces_arrive_before_the_answer_is_complete(vllm: FakeVllm) -> None:
    vllm.answer, vllm.holds_after = (lambda model, ids: "one two"), 1

    async def act(client: VllmClient) -> tuple[str, int]:
        items = client.stream("base", IDS, max_tokens=8, end_ids=(2,))
        first = await anext(items)
        busy = client.in_flight
        vllm.go_on.set()
        assert [item async for item in items][0] == " two"
        return first, busy

    assert ask(vllm, act) == ("one", 1)


def test_a_text_may_have_any_character_and_a_chunk_end_anywhere() -> None:
    """U+2028 and U+0085 end a line for Python, and not here."""
    texts = ["one\u2028", "two\x85", "three\u00e9 ", "four"]
    events = [json.dumps({"choices": [{"text": text}]}, ensure_ascii=False) for text in texts]
    said = "".join(f"data: {event}\r\n\r\n" for event in events).encode()
    end = b'data: {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 4}}\n\ndata: [DONE]\n\n'

    class Chunks(httpx.AsyncByteStream):
        def __init__(self, *chunks: bytes):
            self._chunks = chunks

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in self._chunks:
                yield chunk

    async def pieces(*chunks: bytes) -> list[object]:
        reply = httpx.MockTransport(lambda request: httpx.Response(200, stream=Chunks(*chunks)))
        client = VllmClient("http://server", transport=reply)
        found = list[object]()
        try:
            async for item in client.stream("base", IDS, max_tokens=8, end_ids=(2,)):
                found.append(item if isinstance(item, str) else item.text)
        except VllmRefused as error:
            found.append(str(error))
        return found

    whole = "".join(texts)
    for cut in range(len(said)):
        *parts, last = asyncio.run(pieces(said[:cut], said[cut:], end))
        assert "".join(map(str, parts)) == last == whole
    for broken in (b'data: {"error": {"message": "no room"}}\n\n', b"data: rubbish\n\n"):
        *kept, refused = asyncio.run(pieces(said + broken))
        assert kept == texts and ("no room" in str(refused) or "is no vLLM's" in str(refused))


def test_a_stream_may_be_silent_for_longer_than_other_requests_since_it_may_be_queued() -> None:
    allowed: dict[str, float] = {}

    def silent(request: httpx.Request) -> httpx.Response:
        allowed[request.url.path] = request.extensions["timeout"]["read"]
        raise httpx.ReadTimeout("silent")

    async def both() -> None:
        client = VllmClient("http://server", transport=httpx.MockTransport(silent), read_timeout_s=5.0)
        for act in (stream(client), client.models()):
            with pytest.raises(VllmUnreachable):
                await act

    asyncio.run(both())
    assert allowed == {"/v1/completions": 15.0, "/v1/models": 5.0}


def test_the_request_is_greedy_token_ids_with_the_end_tokens(vllm: FakeVllm) -> None:
    ask(vllm, answer)
    body = vllm.asked()[0]
    assert body["prompt"] == list(IDS) and body["stop_token_ids"] == [2] and body["temperature"] == 0
    assert "cache_salt" not in body


def test_a_repeated_prompt_is_cached_and_a_salt_of_its_own_keeps_it_cold(vllm: FakeVllm) -> None:
    async def act(client: VllmClient) -> list[int]:
        salts = (None, None, "a", None)
        return [(await answer(client, salt=salt)).cached_tokens for salt in salts]

    assert ask(vllm, act) == [0, 32, 0, 32]


@pytest.mark.parametrize(
    ("trouble", "model", "text"),
    [
        ({}, "bank-v0007", "bank-v0007"),
        ({"max_model_len": 40}, "base", "maximum context length is 40"),
        ({"fails_with": 500}, "base", "500.*EngineCore"),
    ],
)
def test_what_is_refused_is_refused_in_the_servers_words(
    vllm: FakeVllm, trouble: dict[str, int], model: str, text: str
) -> None:
    for name, value in trouble.items():
        setattr(vllm, name, value)
    with pytest.raises(VllmRefused, match=text) as caught:
        ask(vllm, lambda client: answer(client, model))
    assert isinstance(caught.value, UnknownModel) is (model != "base")


@pytest.mark.parametrize("pieces", [0, 2])
def test_a_server_that_dies_in_the_middle_of_an_answer_is_unreachable(vllm: FakeVllm, pieces: int) -> None:
    vllm.answer, vllm.dies_after = (lambda model, ids: "one two three"), pieces
    with pytest.raises(VllmUnreachable, match=vllm.url):
        ask(vllm, stream)


def test_an_error_event_in_the_stream_is_not_taken_for_an_end(vllm: FakeVllm) -> None:
    vllm.breaks_off_after = 0
    with pytest.raises(VllmRefused, match="EngineCore died"):
        ask(vllm, stream)


def test_nothing_at_the_address_is_unreachable_and_says_what_to_do() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        nobody = FakeVllm()
        nobody.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(VllmUnreachable, match=f"{nobody.url}.*check"):
            ask(nobody, answer)
        assert not is_healthy(nobody.url)


def test_a_machine_that_the_network_does_not_reach_is_broken_though_it_refuses_nothing() -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):  # the queue is full: who comes now gets no answer at all
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        assert is_broken(f"http://127.0.0.1:{listener.getsockname()[1]}")


def test_a_connection_whose_other_end_is_gone_is_given_up_by_the_kernel(
    vllm: FakeVllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def watched(found: tuple[Any, ...]) -> socket.socket:
        one = watched_socket(found)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_USER_TIMEOUT)
        made.append([one.getsockopt(socket.IPPROTO_TCP, option) for option in options])
        return one

    watched_socket = vllm_connection._watched_socket
    monkeypatch.setattr(vllm_connection, "_watched_socket", watched)
    assert ask(vllm, answer).text == "ok"
    assert made == [[5, 5, 15_000]]


def test_greedy_tokens_come_with_their_log_probabilities(vllm: FakeVllm) -> None:
    vllm.greedy = lambda model, ids, count: [(ids[-1] + n, -0.5 * n) for n in range(count)]
    assert ask(vllm, lambda client: client.greedy("base", (5, 7), 3)) == [(7, 0.0), (8, -0.5), (9, -1.0)]
    (body,) = vllm.asked()
    assert body["temperature"] == 0 and body["ignore_eos"]


def test_adapters_are_loaded_once_listed_with_their_parent_and_unloaded(
    vllm: FakeVllm, adapter_dir: Path
) -> None:
    async def act(client: VllmClient) -> list[tuple[str, str | None]]:
        assert not await client.has("bank-v0001", str(adapter_dir))
        await client.load_adapter("bank-v0001", str(adapter_dir))
        assert await client.has("bank-v0001", str(adapter_dir))
        listed = [(model.id, model.parent) for model in await client.models()]
        await client.unload_adapter("bank-v0001")
        await client.unload_adapter("bank-v0001")
        return listed

    assert ask(vllm, act) == [("base", None), ("bank-v0001", "base")]
    assert len(vllm.asked("/v1/load_lora_adapter")) == 1 and not vllm.adapters


def test_a_path_without_an_adapter_is_refused(vllm: FakeVllm, tmp_path: Path) -> None:
    with pytest.raises(VllmError, match="No adapter found"):
        ask(vllm, lambda client: client.load_adapter("bank-v0001", str(tmp_path)))


@pytest.mark.filterwarnings("error:unclosed:ResourceWarning")
def test_a_server_on_a_unix_socket_answers_as_one_on_a_port(tmp_path: Path) -> None:
    vllm = FakeVllm(answer=lambda model, ids: "one two")
    with vllm.serving(tmp_path / "vllm.sock"):
        assert vllm.url.startswith("unix:")
        assert ask(vllm, answer).text == "one two" and ask(vllm, stream)[0] == "one"
        assert is_healthy(vllm.url)
    assert is_broken(vllm.url)


def test_the_key_opens_a_server_that_has_one(vllm: FakeVllm) -> None:
    vllm.key = "secret"
    assert is_healthy(vllm.url)
    assert ask(vllm, answer, key="secret").text == "ok"
    with pytest.raises(VllmRefused, match="401.*Unauthorized"):
        ask(vllm, answer, key="wrong")


@pytest.fixture
def adapter_dir(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "adapter_config.json").write_text("{}")
    yield tmp_path
