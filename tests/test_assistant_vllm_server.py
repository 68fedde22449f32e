"""Our own vLLM: where it listens, and that one that hangs or whose engine died is started again."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_vllm import FakeVllm
from waiting import PATIENCE_S, wait_for

from assistant import supervisor
from assistant.vllm_health import HealthProbe, Phase
from assistant.vllm_server import VllmServer, _command, _environment

ROOT = Path(__file__).parent.parent


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


def look_until(server: VllmServer, true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
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


def test_who_runs_it_imports_neither_vllm_nor_torch() -> None:
    words = "import sys; from pathlib import Path; from assistant.vllm_server import VllmServer\n"
    words += "VllmServer(Path(), Path()); sys.exit('vllm' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], cwd=ROOT).returncode == 0


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


@pytest.mark.parametrize(
    ("cores", "said", "reserved"),
    [({0}, None, "0"), ({0, 1}, None, "0"), ({0, 1, 2, 3}, None, None), ({0, 1}, "1", "1")],
)
def test_a_small_machine_gives_the_model_every_core_unless_somebody_says_how_many_to_keep(
    monkeypatch: pytest.MonkeyPatch, cores: set[int], said: str | None, reserved: str | None
) -> None:
    monkeypatch.delenv("VLLM_CPU_NUM_OF_RESERVED_CPU", raising=False)
    if said:
        monkeypatch.setenv("VLLM_CPU_NUM_OF_RESERVED_CPU", said)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: cores)
    assert _environment().get("VLLM_CPU_NUM_OF_RESERVED_CPU") == reserved


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
    assert wait_for(lambda: probe.silence_s() >= 0.5 and vllm.asked())
    assert vllm.asked()[0]["max_tokens"] == 1


@pytest.mark.parametrize("metrics", ["404", "none of ours"])
def test_a_server_whose_counters_cannot_be_read_lives_by_what_it_answers_and_logs(
    server: VllmServer, vllm: FakeVllm, ended: list[str], metrics: str
) -> None:
    now = [0.0]
    server._probe = HealthProbe(vllm.url, ask_after_s=0.5, clock=lambda: now[0])
    vllm.metrics = None if metrics == "404" else "vllm:other 1\n"

    def look(tokens_per_s: str = "0.0") -> None:
        now[0] += 1.0
        server._read_line(f"Engine 000: Avg generation throughput: {tokens_per_s} tokens/s, Running: 1 reqs")
        server._check_health()

    for _ in range(4):
        look()
        if server._probe._asking is not None:
            server._probe._asking.join()
    assert len(vllm.asked()) == 3 and ended == [] and server.state.phase is Phase.READY
    vllm.holds_after = 0  # the question waits behind others, whose tokens the log tells of
    look()
    for _ in range(4):
        look("31.7")
    assert ended == []
    look()
    assert ended == []
    look()
    assert ended[0].startswith("no sign of life for 2 s")


CAUSES = [
    (
        "raise OSError(28, 'No space left on device: /psm_1')",
        "OSError: [Errno 28] No space left on device: /psm_1",
    ),
    ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
    (
        "print('api_server.py: error: argument --max-loras: invalid'); exit(2)",
        "argument --max-loras: invalid",
    ),
    ("print('RuntimeError: failed. See root cause above.'); exit(1)", "status 1. It ended too often"),
]


@pytest.mark.parametrize(("script", "cause"), CAUSES)
def test_a_server_that_never_gets_ready_is_tried_some_times_and_the_page_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, cause: str
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(supervisor, "_MOST_FAILURES", 2)
    server = VllmServer(tmp_path, tmp_path / "vllm.log")
    server._supervisor._command = [sys.executable, "-c", script]
    server.start(lambda url: None)
    try:
        assert wait_for(lambda: server.state.phase is Phase.STOPPED)
        assert cause in server.state.detail and "vllm.log" in server.state.detail
        assert wait_for(lambda: not server._supervisor._thread.is_alive()), "nothing is tried for ever"
    finally:
        server.stop()
