"""Our own vLLM answers the routes that we use, with the key, and nothing else."""

from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from assistant.vllm_door import VllmDoor
from assistant.vllm_server import _command

KEY = "a key of this start"
# All of vLLM 0.32's others, from its own list of routes.
OTHERS = """
    GET /metrics, GET /version, GET /load, GET /ping, POST /ping, GET /server_info, POST /tokenize,
    POST /detokenize, POST /v1/chat/completions, POST /v1/responses, POST /v1/embeddings, POST /v1/score,
    POST /v1/rerank, POST /invocations, POST /pooling, POST /classify, POST /reset_prefix_cache,
    POST /sleep, POST /wake_up, POST /collective_rpc, POST /scale_elastic_ep, POST /start_profile,
    GET /docs, GET /openapi.json, POST /v1/audio/transcriptions, POST /inference/v1/generate,
    DELETE /v1/models, POST /v1/models, GET /v1/completions, GET //metrics, GET /v1/models/,
    GET /tokenizer_info, POST /abort_requests, POST /pause, POST /resume, POST /update_weights,
"""
USED = [
    "GET /v1/models",
    "POST /v1/completions",
    "POST /v1/load_lora_adapter",
    "POST /v1/unload_lora_adapter",
]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> httpx.Client:
    monkeypatch.setenv("VLLM_API_KEY", KEY)

    async def all_of_vllm(request: Request) -> PlainTextResponse:
        return PlainTextResponse("vLLM")

    methods = ["GET", "POST", "DELETE", "OPTIONS"]
    return TestClient(VllmDoor(Starlette(routes=[Route("/{path:path}", all_of_vllm, methods=methods)])))


def status(client: httpx.Client, asked: str, key: str | None) -> int:
    method, path = asked.split(" ")
    headers = {} if key is None else {"authorization": key}
    return client.request(method, path, headers=headers).status_code


@pytest.mark.parametrize("asked", USED)
def test_what_we_use_needs_the_key(client: httpx.Client, asked: str) -> None:
    assert status(client, asked, f"Bearer {KEY}") == 200
    for wrong in (None, "", "Bearer", "Bearer ", f"Basic {KEY}", f"Bearer {KEY}x", KEY, "Bearer é".encode()):
        assert status(client, asked, wrong) == 401, wrong  # type: ignore[arg-type]
    path = asked.split(" ")[1]
    assert status(client, f"OPTIONS {path}", None) == 404, "vLLM lets OPTIONS through without a key"


def test_everything_else_does_not_exist_even_with_the_key(client: httpx.Client) -> None:
    pairs = [asked.strip() for asked in OTHERS.split(",") if asked.strip()]
    assert len(pairs) > 30
    assert {status(client, asked, f"Bearer {KEY}") for asked in pairs} == {404}
    assert status(client, "GET /health", None) == 200


def test_without_a_key_nobody_gets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    client = TestClient(VllmDoor(Starlette()))
    assert {status(client, asked, "Bearer ") for asked in USED} == {401}


def test_the_server_that_we_start_has_the_door_and_listens_on_loopback() -> None:
    words = _command(Path("/model"), 1234, 4096)
    assert words[words.index("--middleware") + 1] == f"{VllmDoor.__module__}.{VllmDoor.__name__}"
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert "--api-key" not in words, "every user of the machine can read a command line"
