"""Servers that somebody else runs: they go away, come back, join and leave, each watched by itself."""

import socket
import threading
import time

import pytest
from fake_vllm import FakeVllm
from waiting import wait_for

from assistant import external_servers, vllm_health
from assistant.external_servers import ExternalServers
from assistant.vllm_health import Phase


@pytest.mark.parametrize("trouble", ["away from the start", "goes away", "serves another model"])
def test_of_two_servers_the_healthy_one_is_ready_and_the_other_joins_when_it_is_back(
    vllm: FakeVllm, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr(external_servers, "_POLL_S", 0.05)
    other = FakeVllm()
    prepared: list[str] = []

    def on_ready(url: str) -> None:
        if url == other.url and other.base != "base":
            raise ValueError("another base model")
        prepared.append(url)

    with other.serving():
        if trouble == "away from the start":
            other._end()
        other.base = "other" if trouble == "serves another model" else "base"
        servers = ExternalServers([vllm.url, other.url + "/"])
        servers.start(on_ready)
        try:
            if trouble == "goes away":
                assert wait_for(lambda: not servers.away)
                other._end()
                assert wait_for(lambda: servers.away == {other.url})
            assert wait_for(lambda: servers.state.phase is Phase.READY and other.url in servers.state.detail)
            assert servers.away == {other.url}
            other.base = "base"
            if not other.is_up:
                other.rise()
            assert wait_for(lambda: not servers.away and servers.state.detail == "ready")
            assert prepared[-1] == other.url and vllm.url in prepared
        finally:
            servers.stop()


def test_servers_that_move_are_followed(vllm: FakeVllm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external_servers, "_POLL_S", 0.02)
    other, now = FakeVllm(), [vllm.url]
    with other.serving():
        servers = ExternalServers(now, lambda: now)
        servers.start(lambda url: None)
        try:
            assert wait_for(lambda: servers.state.phase is Phase.READY and servers.urls == (vllm.url,))
            now[:] = [f"{other.url}/"]
            vllm._end()
            assert wait_for(lambda: servers.urls == (other.url,) and not servers.away - {vllm.url})
            assert wait_for(lambda: servers.state.phase is Phase.READY and servers.state.detail == "ready")
        finally:
            servers.stop()


def test_while_one_server_loads_its_adapters_another_one_is_watched(
    vllm: FakeVllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external_servers, "_POLL_S", 0.02)
    loading, loaded = threading.Event(), threading.Event()
    other = FakeVllm()

    def on_ready(url: str) -> None:
        if url == other.url and loading.is_set():
            loaded.wait(30.0)

    with other.serving():
        servers = ExternalServers([other.url, vllm.url])
        servers.start(on_ready)
        try:
            assert wait_for(lambda: not servers.away)
            loading.set()
            other._end()
            assert wait_for(lambda: servers.away == {other.url})
            other.rise()
            vllm._end()
            assert wait_for(lambda: servers.away == {other.url, vllm.url})
            assert servers.state.phase is Phase.STARTING
            loaded.set()
            assert wait_for(lambda: servers.away == {vllm.url} and servers.state.phase is Phase.READY)
        finally:
            loaded.set()
            servers.stop()


def resolves_to(monkeypatch: pytest.MonkeyPatch, *found: str) -> list[str]:
    """Every host has these addresses; the list may be changed."""
    now = [*found]

    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        if not now:
            raise OSError("no such name")
        kinds = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in now]
        return [(kind, 1, 6, "", (one, port)) for kind, one in zip(kinds, now, strict=True)]

    monkeypatch.setattr(external_servers.socket, "getaddrinfo", getaddrinfo)
    return now


@pytest.mark.parametrize(
    ("url", "found", "expected"),
    [
        ("http://vllm:8000", ["10.0.0.2", "10.0.0.1"], ["http://10.0.0.1:8000", "http://10.0.0.2:8000"]),
        (
            "http://vllm:8000/x",
            ["fd00::1", "fd00::2"],
            ["http://[fd00::1]:8000/x", "http://[fd00::2]:8000/x"],
        ),
        ("http://localhost:8000", ["::1", "127.0.0.1"], ["http://localhost:8000"]),
        ("http://vllm:8000", ["10.0.0.1"], ["http://vllm:8000"]),
        ("http://vllm:8000", [], ["http://vllm:8000"]),
        ("https://vllm:8000", ["10.0.0.2", "10.0.0.1"], ["https://vllm:8000"]),
    ],
)
def test_a_name_with_several_addresses_is_several_servers(
    monkeypatch: pytest.MonkeyPatch, url: str, found: list[str], expected: list[str]
) -> None:
    resolves_to(monkeypatch, *found)
    assert external_servers.addresses(url) == expected


def test_replicas_behind_a_name_join_prepared_and_leave(
    vllm: FakeVllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external_servers, "_POLL_S", 0.02)
    monkeypatch.setattr(vllm_health, "_health", lambda url: 200)
    now = resolves_to(monkeypatch, "10.0.0.1", "10.0.0.2")
    joined, unprepared = list[str](), list[str]()

    def on_ready(url: str) -> None:
        joined.append(url)
        unprepared.extend({url} - servers.away)

    servers = ExternalServers(["http://vllm:8000"])
    servers.start(on_ready)
    try:
        assert wait_for(lambda: servers.urls[1:] and not {*servers.urls} & servers.away)
        now.append("10.0.0.3")
        now.remove("10.0.0.1")
        assert wait_for(lambda: servers.urls == ("http://10.0.0.2:8000", "http://10.0.0.3:8000"))
        assert wait_for(lambda: not {*servers.urls} & servers.away)
        now.append("10.0.0.1")
        assert wait_for(lambda: joined.count("http://10.0.0.1:8000") == 2)
    finally:
        servers.stop()
    assert sorted({*joined}) == [f"http://10.0.0.{n}:8000" for n in (1, 2, 3)] and not unprepared


def test_a_busy_server_of_others_is_not_taken_for_one_that_is_away(
    vllm: FakeVllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external_servers, "_POLL_S", 0.05)
    servers = ExternalServers([vllm.url])
    servers.start(lambda url: None)
    try:
        assert wait_for(lambda: servers.state.phase is Phase.READY)
        vllm.hung = True  # /health takes longer than we wait
        time.sleep(2.5)
        assert servers.state.phase is Phase.READY
    finally:
        vllm.hung = False
        servers.stop()
