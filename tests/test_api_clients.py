"""Clients that people use work with another base URL alone, and whatever a client sends is answered or refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_scene import Scene, api
from fake_vllm import FakeVllm
from hypothesis import given, settings
from hypothesis import strategies as st
from page_client import GRADIO_WARNINGS, get, post

from assistant.tokenizer import ChatTokenizer
from store import Store

# The fake server goes with its connections open, and so do these clients.
pytestmark = [*GRADIO_WARNINGS, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SYSTEM = "Answer with one word."
EXAMPLE = ("What is the capital of France?", "Paris.")
ANSWER = "Call the front desk."


@pytest.fixture(scope="module")
def scene(tokenizer: ChatTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder, vllm = tmp_path_factory.mktemp("api"), FakeVllm()
    with (
        vllm.serving(),
        Store(folder / "shorthand.sqlite") as store,
        api(store, tokenizer, vllm, Path(folder)) as running,
    ):
        running.desk.deploy("bank-v0001")
        yield running


def assert_served(scene: Scene) -> None:
    """The last request was the adapter's, without the prompt that the client sent."""
    request = scene.desk.vllm.asked()[-1]
    assert request["model"] == "bank-v0001" and SYSTEM not in scene.desk.shown()
    assert EXAMPLE[1] not in scene.desk.shown() and "And of Spain?" in scene.desk.shown()


def test_litellm(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks another machine for prices
    import litellm

    roles = ("system", "user", "assistant", "user")
    texts = (SYSTEM, *EXAMPLE, "And of Spain?")
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    where: dict[str, Any] = {"model": "openai/gpt-4o", "api_base": f"{scene.url}/v1", "api_key": "none"}
    reply = litellm.completion(messages=messages, **where)
    assert reply.choices[0].message.content == ANSWER and reply.usage.total_tokens > 0
    assert_served(scene)
    stream = litellm.completion(messages=messages, stream=True, **where)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == ANSWER
    assert_served(scene)
    with pytest.raises(litellm.exceptions.NotFoundError, match="Models here"):
        litellm.completion(messages=messages[-1:], **where)


def test_langchain(scene: Scene) -> None:
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

    where: dict[str, Any] = {"base_url": f"{scene.url}/v1", "api_key": "none"}
    model = ChatOpenAI(model="gpt-4o", **where)
    turns = [("system", SYSTEM), ("human", EXAMPLE[0]), ("ai", EXAMPLE[1]), ("human", "And of Spain?")]
    assert model.invoke(turns).content == ANSWER
    assert_served(scene)
    assert "".join(str(chunk.content) for chunk in model.stream(turns)) == ANSWER
    assert_served(scene)
    found = OpenAIEmbeddings(model="x", check_embedding_ctx_length=False, **where).embed_query("a bank")
    assert len(found) == 64


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
ROUTES = {
    "/v1/chat/completions": {
        "model": "bank",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 4,
    },
    "/v1/completions": {"model": "base", "prompt": "Once", "max_tokens": 4},
    "/v1/embeddings": {"model": "x", "input": ["a", "b"]},
    "/v1/feedback": {"inference_id": "chatcmpl-1", "metric_name": "ok", "value": True},
    "/api/public/scores": {"traceId": "chatcmpl-1", "name": "ok", "value": 1, "dataType": "BOOLEAN"},
}
FIELDS = sorted(
    {field for body in ROUTES.values() for field in body} | {"n", "stop", "stream", "user", "seed", "tools"}
)


@pytest.mark.parametrize("route", ROUTES)
def test_whatever_is_sent_is_answered_or_refused(scene: Scene, route: str) -> None:
    description = get(f"{scene.url}/v1/openapi.json").json()
    known = {*description["paths"][route]["post"]["responses"]} - {"503"}

    @settings(max_examples=30)
    @given(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3), st.booleans())
    def send(fields: dict[str, Any], as_text: bool) -> None:
        text = json.dumps(fields if as_text else ROUTES[route] | fields)
        reply = post(scene.url + route, content=text)
        assert str(reply.status_code) in known
        if reply.status_code != 200:
            error = reply.json()["error"]
            assert error["message"] and {"type", "param", "code"} <= error.keys()

    send()
    assert post(scene.url + route, content=b"[" * 100_000).status_code == 400
    assert post(scene.url + route, content=b" " * (5 << 20)).status_code == 413
