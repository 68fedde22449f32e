"""Our own vLLM: where it listens, and that one that hangs or whose engine died is started again."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_vllm import FakeVllm

from assistant.vllm_server import HealthProbe, Phase, VllmServer, _command, _environment


@pytest.fixture
def ended() -> list[str]:
    return []


@pytest.fixture
def server(vllm: FakeVllm, tmp_path: Path, ended: list[str], monkeypatch: pytest.MonkeyPatch) -> VllmServer:
    """Ready, at the fake's address; its own process is never started."""
    made = VllmServer(tmp_path, tmp_path / "vllm.log", 2048, hung_s=2.0)
    made.url = vllm.url
    made._probe = HealthProbe(vllm.url, ask_after_s=0.1)
    made._set(Phase.READY, "ready")
    monkeypatch.setattr(made._supervisor, "restart", lambda: ended.append(made.state.detail))
    return made


def look_until(server: VllmServer, true: Callable[[], bool], within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, server.state
        server._check_health()
        time.sleep(0.02)


def test_it_listens_on_a_socket_that_no_other_user_reaches_and_on_no_port(tmp_path: Path) -> None:
    server = VllmServer(tmp_path, tmp_path / "vllm.log", 2048)
    words = _command(tmp_path, Path("/private/vllm.sock"), 2048)
    assert words[words.index("--uds") + 1] == "/private/vllm.sock" and not {"--port", "--host"} & set(words)
    assert Path(server.url.removeprefix("unix:")).parent == server._supervisor._scratch
    assert len(server.url) < 100, "a Unix socket's path has 107 bytes at most"


def test_one_that_hangs_is_ended(server: VllmServer, vllm: FakeVllm, ended: list[str]) -> None:
    vllm.holds_after = 0  # completions alone: /health answers as if nothing were wrong
    look_until(server, lambda: bool(ended))
    assert ended[0].startswith("no sign of life") and server.state.phase is Phase.RESTARTING
    server._check_health()  # while the supervisor ends it
    assert len(ended) == 1


def test_one_that_goes_on_in_time_stays_as_long_as_it_answers_what_it_is_asked(
    server: VllmServer, vllm: FakeVllm, ended: list[str]
) -> None:
    server._hung_s = 60.0
    vllm.holds_after = 0
    look_until(server, lambda: bool(vllm.asked()))
    vllm.go_on.set()
    look_until(server, lambda: len(vllm.asked()) > 2)
    assert server.state.phase is Phase.READY and ended == []


def test_one_whose_engine_died_or_that_listens_no_more_is_ended_at_once(
    server: VllmServer, vllm: FakeVllm, ended: list[str]
) -> None:
    vllm.engine_died = True
    server._check_health()
    assert ended == ["its engine has died, it is started again"] and server.state.phase is Phase.RESTARTING
    server._check_health()  # while the supervisor ends it
    assert len(ended) == 1
    vllm._end()
    server._set(Phase.READY, "ready")
    server._check_health()
    assert len(ended) == 2


@pytest.mark.parametrize(("cores", "reserved"), [({0}, "0"), ({0, 1}, "0"), ({0, 1, 2, 3}, None)])
def test_a_small_machine_gives_the_model_every_core(
    monkeypatch: pytest.MonkeyPatch, cores: set[int], reserved: str | None
) -> None:
    monkeypatch.delenv("VLLM_CPU_NUM_OF_RESERVED_CPU", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: cores)
    assert _environment().get("VLLM_CPU_NUM_OF_RESERVED_CPU") == reserved


def test_who_says_how_many_cores_to_keep_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_NUM_OF_RESERVED_CPU", "1")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    assert _environment()["VLLM_CPU_NUM_OF_RESERVED_CPU"] == "1"


def test_tokens_that_others_get_are_signs_of_life(vllm: FakeVllm) -> None:
    now = [0.0]
    probe = HealthProbe(vllm.url, ask_after_s=60, clock=lambda: now[0])
    assert probe.silence_s() == 0
    now[0] = 5.0
    assert probe.silence_s() == 5
    vllm.generated += 1
    assert probe.silence_s() == 0
    assert not vllm.asked()


def test_a_failure_within_the_server_is_no_sign_of_life(vllm: FakeVllm) -> None:
    vllm.fails_with = 500
    probe = HealthProbe(vllm.url, ask_after_s=0.05)
    end = time.monotonic() + 10.0
    while probe.silence_s() < 0.5:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert vllm.asked()[0]["max_tokens"] == 1
