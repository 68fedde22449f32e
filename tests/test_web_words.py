"""Numbers and states become words with their unit."""

import pytest

from assistant.vllm_server import Phase, ServerState
from assistant.web import words
from store.records import Deployment, DeploymentStatus, Usage


def deployment(adapter: str | None, variant: int) -> Deployment:
    return Deployment(1, "a", 1, adapter, (), variant, 85, DeploymentStatus.ACTIVE, 0.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.412, "0.41 s"),
        (9.999, "10.0 s"),
        (59.99, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3840, "1 h 4 min"),
    ],
)
def test_seconds(value: float | None, text: str) -> None:
    assert words.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (-1, ""), (12, "about 10 s left"), (700, "about 12 min left"), (5400, "about 1.5 h left")],
)
def test_remaining(value: float | None, text: str) -> None:
    assert words.remaining(value) == text


def test_tokens_and_counts() -> None:
    assert words.tokens(1) == "1 token"
    assert words.tokens(1832) == "1,832 tokens"
    assert words.count(2, "retry", "retries") == "2 retries"


def test_cut_and_differences_have_a_real_minus() -> None:
    assert words.cut(832, 32) == "−96 %"
    assert words.cut(832, 832) == "0 %"
    assert words.cut(0, 10) == words.cut(None, 10) == words.cut(10, None) == "–"
    assert words.signed(-0.0341) == "−0.034"
    assert words.signed(None) == "–"


def test_interval_of_a_damaged_score_is_a_dash() -> None:
    assert words.interval({"mean": 0.43, "low": 0.4, "high": 0.46}) == "0.430 (0.400 to 0.460)"
    assert words.interval({"mean": 0.43}) == "0.430"
    assert words.interval({"mean": "x"}) == words.interval(None) == words.interval({}) == "–"


def test_deployment_and_usage() -> None:
    assert words.deployment(deployment(None, 0)) == "base, full prompt"
    assert words.deployment(deployment("otter-quay-v0003", 4)) == "otter-quay-v0003, variant 4"
    assert words.usage(Usage(849, 832, 832, 30, 0.41, 2.0)) == (
        "prompt 832 tokens (total 849, cached 832) · first token 0.41 s"
    )


def test_server_state_says_what_it_does_and_since_when() -> None:
    assert (
        words.server(ServerState(Phase.STARTING, "warming up", 100.0), 123.4)
        == "vLLM loading: warming up, 23 s"
    )
    assert words.server(ServerState(Phase.READY, "ready", 100.0), 123.4) == "vLLM ready"


def test_ago() -> None:
    assert [words.ago(1000.0 - gone, 1000.0) for gone in (3, 300, 7200, 3 * 86400)] == [
        "just now",
        "5 min ago",
        "2 h ago",
        "3 d ago",
    ]
