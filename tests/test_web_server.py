"""What reaches the pages before anybody has signed in, through which proxy, and what is logged of it."""

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from little_proxy import proxied
from page_client import GRADIO_WARNINGS, HTTP, PageClient, cheap_passwords, events_of, get, post
from review_scene import services_of, serving
from waiting import PATIENCE_S, wait_for

from assistant.startup import network
from assistant.web import server as module
from assistant.web.server import PageServer
from benchmarks.processes import AppProcess, free_port
from store import Store
from store.accounts import UserRole
from store.tracebacks import without_texts

pytestmark = GRADIO_WARNINGS

ELSEWHERE = "127.0.0.77"  # of this machine, and no proxy that is believed, once `elsewhere` says so


@contextmanager
def listening(**options: Any) -> Iterator[tuple[tuple[str, int], str]]:
    """A server with one page, that tells who asks."""
    app = FastAPI()

    @app.get("/{path:path}")
    async def who(path: str) -> str:
        return path

    server = PageServer(app, "127.0.0.1", free_port(), **options)
    server.start()
    try:
        yield ("127.0.0.1", server.config.port), server.url
    finally:
        server.stop()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOPBACK", ("127.0.0.1",))


def said(connection: socket.socket) -> bytes:
    """All that comes back until the connection ends."""
    connection.settimeout(PATIENCE_S)
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (HEAD + b"X: " + b"x" * (70 << 10), 431),
        (HEAD + b"X: x\r\n" * 12_000, 431),
        (b"GET /" + b"x" * (70 << 10), 431),
        (HEAD + b"Cookie: " + b"a=b; " * 14_000 + b"\r\nConnection: close\r\n\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01" + b"\r\n" * 3, 400),
        (b"GET / HTTP/1.1\r\nno colon here\r\n\r\n", 400),
        (HEAD + b"X: " + b"x" * (50 << 10) + b"\r\nConnection: close\r\n\r\n", 200),
    ],
)
def test_a_header_has_an_end(head: bytes, status: int) -> None:
    with listening() as (address, _), socket.create_connection(address) as connection:
        connection.sendall(head)
        assert said(connection).startswith(f"HTTP/1.1 {status} ".encode())


def test_an_endless_header_holds_up_nobody() -> None:
    with listening() as (address, url), socket.create_connection(address) as flood:
        flood.settimeout(0.2)
        flood.sendall(HEAD + b"X: ")
        slowest, until = 0.0, time.monotonic() + 1.5
        try:
            while time.monotonic() < until:
                flood.sendall(b"x" * (1 << 20))
        except OSError:
            pass
        for _ in range(5):
            began = time.monotonic()
            assert get(url).status_code == 200
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 10.0  # an endless one that is kept takes minutes


POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"


@pytest.mark.parametrize(
    "arriving", [b"", b"GET / HT", HEAD, POST, HEAD + b"\r\n" + HEAD, HEAD + b"\r\n" + POST]
)
def test_a_request_that_never_arrives_whole_is_ended(
    arriving: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HEADER_S", 0.4)
    monkeypatch.setattr(module, "_BODY_S", 0.4)
    with listening() as (address, _), socket.create_connection(address) as connection:
        began = time.monotonic()
        connection.sendall(arriving)
        answer = said(connection)
        assert time.monotonic() - began < module._KEPT_S / 2  # it did not end as one that is kept
    assert b" 408 " in answer or b" 405 " in answer or answer.count(b"HTTP/1.1 200") == 1


def test_a_request_that_trickles_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HEADER_S", 0.5)
    with listening() as (address, _), socket.create_connection(address) as connection:
        end = time.monotonic() + PATIENCE_S
        with pytest.raises(OSError):
            while time.monotonic() < end:
                connection.sendall(b"G")
                time.sleep(0.05)


def connected(stack: ExitStack, address: tuple[str, int], number: int) -> list[socket.socket]:
    connect = socket.create_connection
    return [stack.enter_context(connect(address, source_address=(ELSEWHERE, 0))) for _ in range(number)]


def test_what_waits_for_its_request_makes_room_for_whole_ones_and_others(
    elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_OF_ONE_NETWORK", 20)
    with ExitStack() as stack, listening() as (address, url):
        waiting = connected(stack, address, 50)
        for one in waiting[::2]:
            one.sendall(b"GET / HTTP/1.1\r\n")
        [newest] = connected(stack, address, 1)
        newest.sendall(HEAD + b"\r\n")
        assert newest.recv(12) == b"HTTP/1.1 200" and get(url).status_code == 200
        assert wait_for(lambda: sum(is_open(one) for one in waiting) < 20)


def answered(connection: HTTPConnection) -> bool:
    connection.request("GET", "/")
    answer = connection.getresponse()
    return answer.status == 200 and bool(answer.read())


def test_connections_kept_after_an_answer_make_room_too(
    elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_OF_ONE_NETWORK", 20)
    with ExitStack() as stack, listening() as (address, _):
        options: Any = {"source_address": (ELSEWHERE, 0), "timeout": PATIENCE_S}
        for _ in range(50):
            kept = stack.enter_context(closing(HTTPConnection(*address, **options)))
            assert answered(kept)
        assert answered(kept)


def test_a_kept_connection_outlives_what_clients_and_proxies_keep() -> None:
    """Otherwise a request that is sent while the server closes the connection gets no answer."""
    with listening() as (address, _), closing(HTTPConnection(*address, timeout=PATIENCE_S)) as kept:
        assert answered(kept)
        time.sleep(6)  # uvicorn, httpx and OpenAI's client keep one for 5 seconds, nginx for 60
        assert answered(kept) and module._KEPT_S > 60


def test_an_app_may_open_many_connections_at_once() -> None:
    with ExitStack() as stack, listening() as (address, _):
        opened = [stack.enter_context(socket.create_connection(address)) for _ in range(200)]
        for one in opened:
            one.sendall(HEAD + b"\r\n")
        assert all(one.recv(12) == b"HTTP/1.1 200" for one in opened)


def is_open(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def test_limits_count_a_whole_ipv6_network_as_one() -> None:
    assert network("203.0.113.9") == "203.0.113.9" != network("203.0.113.10")
    assert network("2001:db8::1") == network("2001:db8::2:3") != network("2001:db8:0:1::1")
    assert network("fe80::1%eth0") == "fe80::/64"


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Store]:
    with cheap_passwords(), Store(tmp_path / "s.sqlite") as store:
        store.users.add("ann", UserRole.ADMIN, "password of ann")
        yield store


FORWARDED = "X-Forwarded-For: {}\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n"


@pytest.mark.parametrize(
    ("proxies", "believed"),
    [((), False), ((ELSEWHERE,), True), (("127.0.0.64/27",), True), (("10.0.0.1",), False)],
)
def test_only_a_trusted_proxy_says_who_asks_and_that_it_is_https(
    team: Store, elsewhere: None, proxies: tuple[str, ...], believed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    headers = FORWARDED.format("203.0.113.9")
    with (
        serving(services_of(team), proxies=proxies) as (url, _),
        proxied(url, headers=headers, source=ELSEWHERE) as outside,
        httpx.Client(base_url=outside, **HTTP) as client,
    ):
        found = client.post("sign-in", data={"name": "ann", "password": "password of ann"})
    cookie = found.headers["set-cookie"].lower()
    assert found.status_code == 303 and ("; secure" in cookie) == believed
    assert ("strict-transport-security" in found.headers) == believed
    address = "203.0.113.9" if believed else ELSEWHERE
    assert team.audit.entries(1)[0].detail["address"] == address
    assert (f"--trusted-proxy {ELSEWHERE}" in caplog.text) != believed


def test_an_outsider_behind_the_proxy_does_not_lock_the_others_out(team: Store, elsewhere: None) -> None:
    wrong = {"name": "ann", "password": "guess"}
    with ExitStack() as stack:
        url, _ = stack.enter_context(serving(services_of(team), proxies=(ELSEWHERE,)))
        outside, inside = (
            stack.enter_context(proxied(url, headers=FORWARDED.format(address), source=ELSEWHERE))
            for address in ("203.0.113.66", "203.0.113.9")
        )
        for number in range(41):
            post(f"{outside}sign-in", data=wrong | {"name": f"n{number}"})
        assert post(f"{outside}sign-in", data=wrong).status_code == 429
        right = {"name": "ann", "password": "password of ann"}
        assert post(f"{inside}sign-in", data=right).status_code == 303


@pytest.mark.parametrize(("strips", "root"), [(True, ""), (True, "/team/chat"), (False, "/team/chat")])
def test_the_pages_live_under_a_sub_path(team: Store, strips: bool, root: str) -> None:
    with (
        serving(services_of(team), root_path=root) as (url, page),
        proxied(url, "/team/chat", strips) as outside,
    ):
        client = PageClient(outside)
        there = client.http.get("")
        assert there.status_code == 303 and there.headers["location"] == "sign-in"
        assert client.sign_in("ann", "password of ann").status_code == 303
        document = client.http.get("")
        assert '"root":"."' in document.text and "shorthand.invalid" not in document.text
        for asset in ("theme.css", "static/js/iframeResizer.contentWindow.min.js", "gradio_api/app_id"):
            assert client.http.get(asset).status_code == 200, asset
        opened = next(function for function in events_of(page) if function.name == "welcome")
        assert '"success":true' in client.call(opened, [None])
        if not strips:
            assert client.http.get("../chat").headers["location"] == "chat/"


def test_the_document_may_run_its_own_scripts_alone(store: Store) -> None:
    with serving(services_of(store)) as (url, _):
        found = [get(url) for _ in range(2)]
    nonces = set[str]()
    for one in found:
        parts = one.headers["content-security-policy"].split(";")
        policy = dict(part.strip().split(" ", 1) for part in parts)
        assert policy["frame-ancestors"] == "'self'" and policy["object-src"] == "'none'"
        assert "unsafe-inline" not in policy["script-src"]
        nonce = policy["script-src"].split("'nonce-")[1].split("'")[0]
        nonces.add(nonce)
        assert one.text.count("<script") == one.text.count(f'<script nonce="{nonce}"') > 3
        assert one.headers["cache-control"] == "no-store" and "strict-transport-security" not in one.headers
        assert one.headers["x-content-type-options"] == "nosniff"
    assert len(nonces) == 2


TYPED = "my secret is 4711"


def test_a_traceback_says_where_and_quotes_nobody() -> None:
    try:
        try:
            int(TYPED)
        except ValueError as error:
            raise RuntimeError(f"not understood: {TYPED}") from error
    except RuntimeError as error:
        text = without_texts(ExceptionGroup(TYPED, [error]))
    assert TYPED.split()[-1] not in text.replace("TYPED", "") and "test_web_server.py" in text
    assert "RuntimeError" in text and "ValueError" in text and "ExceptionGroup" in text


def test_what_was_typed_is_in_no_log(
    store: Store, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    services = services_of(store)

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError(TYPED)

    services.chat.ask = fails
    with serving(services) as (url, page):
        client = PageClient(url)
        for function in events_of(page):
            client.call(function, [TYPED] * len(function.inputs), {"id": TYPED, "text": TYPED, "data": TYPED})
    out, err = capfd.readouterr()
    formatted = "".join(logging.getLogger().handlers[0].format(record) for record in caplog.records)
    assert TYPED not in out + err + formatted
    assert "An event of the page failed" in caplog.text


def test_a_failed_task_is_logged_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        module.keep_texts_out_of_loop()
        context = {"message": "Task exception was never retrieved", "exception": ValueError(TYPED)}
        asyncio.get_running_loop().call_exception_handler(context)

    asyncio.run(run())
    assert "never retrieved" in caplog.text and "ValueError" in caplog.text and TYPED not in caplog.text


def test_the_app_starts_where_proxies_are_set_and_asks_itself_without_them(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, scheme in (("HTTP_PROXY", "http"), ("HTTPS_PROXY", "http"), ("ALL_PROXY", "socks5")):
        for spelled in (name, name.lower()):
            monkeypatch.setenv(spelled, f"{scheme}://127.0.0.1:9")
    options = ("--model", str(tiny_model), "--vllm-url", "http://127.0.0.1:9", "--no-trainer")
    with AppProcess(tmp_path / "data", *options) as app:
        app.wait_for_page(400)
        assert app.stop() == 0
        assert "Traceback" not in app.output()
