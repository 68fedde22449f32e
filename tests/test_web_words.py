"""Numbers and states become words with their unit."""

import pytest

from assistant.vllm_server import Phase, ServerState
from assistant.web import words
from store.records import Deployment, DeploymentStatus, Usage
from trainer.evaluation.scorers import right_or_wrong


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


def test_counts_differences_and_shares_have_their_unit() -> None:
    assert words.tokens(1) == "1 token"
    assert words.tokens(1832) == "1,832 tokens"
    assert words.cut(832, 32) == "−96 %"
    assert words.cut(832, 832) == "0 %"
    assert words.cut(0, 10) == words.cut(None, 10) == words.cut(10, None) == "–"
    assert words.points(-0.0341) == "−3.4"
    assert words.points(None) == "–"
    assert words.percent(0.975) == "97.5 %"


def test_quality_is_right_answers_or_a_mean_with_its_interval() -> None:
    score = {"mean": 12 / 135, "low": 0.05, "high": 0.14}
    assert words.quality(score, {"scorer": "exact", "examples": 135}) == "12 of 135 right"
    assert words.quality(score, {"scorer": "sql:shop.sqlite", "examples": 135}) == "12 of 135 right"
    assert words.quality(score, {"scorer": "chrf", "examples": 135}) == "0.09 (0.05 to 0.14)"
    assert words.quality({"mean": 0.43}, {}) == "0.43"
    assert words.quality(None, {}) == words.quality({}, {}) == "–"


@pytest.mark.parametrize("scorer", ["exact", "json", "sql", "chrf", "bleu"])
def test_the_pages_count_answers_where_the_gate_calls_them_right_or_wrong(scorer: str) -> None:
    shown = words.quality({"mean": 1.0}, {"scorer": scorer, "examples": 2})
    assert (shown == "2 of 2 right") is right_or_wrong(scorer)


def test_deployment_and_usage() -> None:
    assert words.deployment(deployment(None, 0)) == "base model, full prompt"
    assert words.deployment(deployment("otter-quay-v0003", 4)) == "otter-quay-v0003, prompt of 85 tokens"
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
