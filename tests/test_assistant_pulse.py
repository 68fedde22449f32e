"""Whether a server that seems to run still makes tokens."""

import time

from fake_vllm import FakeVllm

from assistant.pulse import Pulse


def until(true: bool, pulse: Pulse, silent_s: float, within_s: float = 5.0) -> bool:
    """Whether `silence_s() < silent_s` becomes what is expected in time."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if (pulse.silence_s() < silent_s) is true:
            return True
        time.sleep(0.01)
    return False


def test_tokens_that_others_get_are_signs_of_life(vllm: FakeVllm) -> None:
    pulse = Pulse(vllm.url, None, ask_after_s=60)
    time.sleep(0.2)
    vllm.generated += 1
    assert pulse.silence_s() < 0.1
    time.sleep(0.2)
    assert pulse.silence_s() > 0.1
    assert not vllm.asked()


def test_a_server_that_nobody_asks_is_asked_for_one_token(vllm: FakeVllm) -> None:
    pulse = Pulse(vllm.url, None, ask_after_s=0.05)
    assert until(False, pulse, 0.05) and until(True, pulse, 0.05)
    assert [body["max_tokens"] for body in vllm.asked()][:1] == [1]


def test_an_engine_that_hangs_is_silent_although_its_server_answers(vllm: FakeVllm) -> None:
    vllm.holds_after = 0  # completions alone
    pulse = Pulse(vllm.url, None, ask_after_s=0.05)
    assert until(False, pulse, 0.5)
    vllm.go_on.set()
    assert until(True, pulse, 0.3)


def test_a_server_that_hangs_or_fails_is_silent(vllm: FakeVllm) -> None:
    vllm.fails_with = 500
    pulse = Pulse(vllm.url, None, ask_after_s=0.05)
    assert until(False, pulse, 0.5)
