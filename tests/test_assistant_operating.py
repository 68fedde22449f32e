"""What an operator relies on: probes, a line for each request, and how the app starts and ends in a container."""

import asyncio
import json
import re
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_scene import READY, api
from fake_vllm import FakeVllm
from page_client import GRADIO_WARNINGS, get
from starlette.authentication import SimpleUser
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from waiting import wait_for

from assistant.request_log import RequestLog, request_id
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_health import Phase, ServerState
from benchmarks.processes import AppProcess
from store import Store

pytestmark = GRADIO_WARNINGS  # the fake server goes with its connections open

SECRET = "secret-of-somebody"


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/fails":
        raise ValueError(SECRET)
    scope["user"] = SimpleUser("ann")
    await PlainTextResponse(request_id.get(), 201)(scope, receive, send)


def logged(tmp_path: Path, *paths: str, **headers: str) -> tuple[list[httpx.Response], list[dict[str, Any]]]:
    """Responses, and lines of the log."""
    log = tmp_path / "logs" / "requests.log"

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(RequestLog(page, str(log)), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x", headers=headers) as client:
            return [await client.get(path) for path in paths]

    return asyncio.run(ask()), [json.loads(line) for line in log.read_text().splitlines()]


def test_each_request_has_a_line_and_an_id_and_nothing_that_was_sent(tmp_path: Path) -> None:
    (first, second), lines = logged(tmp_path, f"/a?text={SECRET}", "/" + "b" * 999)
    ids = [first.headers["x-request-id"], second.headers["x-request-id"]]
    assert ids == [first.text, second.text] == [line["id"] for line in lines] and ids[0] != ids[1]
    assert lines[0] | {"at": 0, "seconds": 0} == {
        **{"id": ids[0], "at": 0, "status": 201, "bytes": len(first.content), "seconds": 0},
        **{"method": "GET", "path": "/a", "client": "127.0.0.1", "user": "ann"},
    }
    assert SECRET not in str(lines) and len(lines[1]["path"]) == 200


@pytest.mark.parametrize(
    ("given", "is_kept"), [("a1b2-c3_d4.e5", True), ('"},{"a', False), ("x" * 65, False)]
)
def test_a_proxys_id_is_kept_where_it_is_one(tmp_path: Path, given: str, is_kept: bool) -> None:
    [response], [line] = logged(tmp_path, "/", **{"x-request-id": given})
    assert (line["id"] == given) is is_kept and response.headers["x-request-id"] == line["id"]


def test_what_fails_is_a_line_with_500_and_probes_have_none(tmp_path: Path) -> None:
    _, lines = logged(tmp_path, "/healthz", "/readyz", "/fails")
    assert [(line["path"], line["status"]) for line in lines] == [("/fails", 500)]


def probe(url: str) -> list[tuple[int, str]]:
    found = [get(f"{url}/{name}") for name in ("healthz", "readyz")]
    return [(one.status_code, one.text) for one in found]


WAITING = ServerState(Phase.STARTING, f"waiting for http://{SECRET}", 0.0)


@pytest.mark.parametrize(
    ("state", "ready"), [(READY, (200, "ok")), (WAITING, (503, "The model is starting."))]
)
def test_probes_are_open_to_all_and_tell_no_address(
    store: Store,
    tokenizer: ChatTokenizer,
    vllm: FakeVllm,
    tmp_path: Path,
    state: ServerState,
    ready: tuple[int, str],
) -> None:
    with api(store, tokenizer, vllm, tmp_path, lambda: True, state) as scene:
        assert probe(scene.url) == [(200, "ok"), ready]


def test_a_store_that_cannot_be_read_is_neither_healthy_nor_ready(
    store: Store, tokenizer: ChatTokenizer, vllm: FakeVllm, tmp_path: Path
) -> None:
    with api(store, tokenizer, vllm, tmp_path) as scene:
        for end in ("", "-wal"):
            store.path.with_name(store.path.name + end).write_bytes(b"no database " * 9)
        assert probe(scene.url) == [(503, "The store does not answer.")] * 2


def test_with_one_folder_to_write_to_and_no_home_it_starts_serves_and_ends(
    tiny_model: Path, vllm: FakeVllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    left = data / "tmp" / "shorthand-0123456789abcdef"  # by a container that was killed
    left.mkdir(parents=True)
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("TMPDIR", str(left.parent))
    options = ("--model", str(tiny_model), "--vllm-url", vllm.url, "--request-log", "-", "--no-trainer")
    with AppProcess(data, *options) as app:
        app.wait_for_page()
        health = get(f"{app.url}/healthz")
        status = app.stop(signal.SIGTERM)
    assert health.text == "ok" and status == 0 and not left.exists()
    assert re.search(r'^{"id": "[0-9a-f]{32}".*"path": "/"', app.output(), re.MULTILINE)


def test_asked_to_end_while_it_starts_it_ends(tmp_path: Path) -> None:
    with AppProcess(tmp_path / "data") as app:  # converts its model for many seconds
        assert wait_for(lambda: "Converting" in app.output() or app.process.poll() is not None), app.output()
        assert app.stop(signal.SIGTERM) == 0
