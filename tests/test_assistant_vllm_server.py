"""A server that was ready and hangs, or whose engine died, is ended, so that its leash starts it again."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_vllm import FakeVllm

from assistant.pulse import Pulse
from assistant.vllm_server import Phase, VllmServer, _environment


@pytest.fixture
def ended() -> list[str]:
    return []


@pytest.fixture
def server(vllm: FakeVllm, tmp_path: Path, ended: list[str], monkeypatch: pytest.MonkeyPatch) -> VllmServer:
    """Ready, at the fake's address; its own process is never started."""
    made = VllmServer(tmp_path, tmp_path / "vllm.log", 2048, lambda: None, silent_s=1.0, hung_s=3.0)
    made.url = vllm.url
    made._pulse = Pulse(vllm.url, None, ask_after_s=0.1)
    made._set(Phase.READY, "ready")
    monkeypatch.setattr(made._process, "end_this_one", lambda: ended.append(made.state.detail))
    return made


def look_until(server: VllmServer, true: Callable[[], bool], within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, server.state
        server._look()
        time.sleep(0.02)


def test_one_that_hangs_is_said_to_and_then_ended(
    server: VllmServer, vllm: FakeVllm, ended: list[str]
) -> None:
    vllm.holds_after = 0  # completions alone: /health answers as if nothing were wrong
    look_until(server, lambda: server.state.phase is Phase.RESTARTING)
    assert "no sign of life" in server.state.detail and ended == []
    look_until(server, lambda: bool(ended))
    assert len(ended) == 1


def test_one_that_goes_on_in_time_is_ready_again(
    server: VllmServer, vllm: FakeVllm, ended: list[str]
) -> None:
    server._hung_s = 60.0
    vllm.holds_after = 0
    look_until(server, lambda: server.state.phase is Phase.RESTARTING)
    vllm.go_on.set()
    look_until(server, lambda: server.state.phase is Phase.READY)
    asked = len(vllm.asked())
    look_until(server, lambda: len(vllm.asked()) > asked + 1)  # and stays so while it is asked now and then
    assert server.state.phase is Phase.READY and ended == []


def test_one_whose_engine_died_or_that_listens_no_more_is_ended_at_once(
    server: VllmServer, vllm: FakeVllm, ended: list[str]
) -> None:
    vllm.engine_died = True
    server._look()
    assert ended == ["its engine has died, it is started again"] and server.state.phase is Phase.RESTARTING
    server._look()  # while the leash ends it
    assert len(ended) == 1
    vllm._end()
    server._set(Phase.READY, "ready")
    server._look()
    assert len(ended) == 2


@pytest.mark.parametrize(("cores", "kept"), [({0}, "0"), ({0, 1}, "0"), ({0, 1, 2, 3}, None)])
def test_a_small_machine_gives_the_model_every_core(
    monkeypatch: pytest.MonkeyPatch, cores: set[int], kept: str | None
) -> None:
    monkeypatch.delenv("VLLM_CPU_NUM_OF_RESERVED_CPU", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: cores)
    assert _environment("key").get("VLLM_CPU_NUM_OF_RESERVED_CPU") == kept


def test_who_says_how_many_cores_to_keep_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_NUM_OF_RESERVED_CPU", "1")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    assert _environment("key")["VLLM_CPU_NUM_OF_RESERVED_CPU"] == "1"
