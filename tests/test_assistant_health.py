"""Whether a server that seems to run still makes tokens."""

import time

from fake_vllm import FakeVllm

from assistant.health import HealthProbe


def until(true: bool, probe: HealthProbe, silent_s: float, within_s: float = 5.0) -> bool:
    """Whether `silence_s() < silent_s` becomes what is expected in time."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if (probe.silence_s() < silent_s) is true:
            return True
        time.sleep(0.01)
    return False


def test_tokens_that_others_get_are_signs_of_life(vllm: FakeVllm) -> None:
    now = [0.0]
    probe = HealthProbe(vllm.url, ask_after_s=60, clock=lambda: now[0])
    assert probe.silence_s() == 0
    now[0] = 5.0
    assert probe.silence_s() == 5
    vllm.generated += 1
    assert probe.silence_s() == 0
    assert not vllm.asked()


def test_a_server_that_nobody_asks_is_asked_for_one_token(vllm: FakeVllm) -> None:
    probe = HealthProbe(vllm.url, ask_after_s=0.05)
    assert until(False, probe, 0.05) and until(True, probe, 0.05)
    assert [body["max_tokens"] for body in vllm.asked()][:1] == [1]


def test_an_engine_that_hangs_is_silent_although_its_server_answers(vllm: FakeVllm) -> None:
    vllm.holds_after = 0  # completions alone
    probe = HealthProbe(vllm.url, ask_after_s=0.05)
    assert until(False, probe, 0.5)
    vllm.go_on.set()
    assert until(True, probe, 0.3)


def test_a_server_that_hangs_or_fails_is_silent(vllm: FakeVllm) -> None:
    vllm.fails_with = 500
    probe = HealthProbe(vllm.url, ask_after_s=0.05)
    assert until(False, probe, 0.5)
