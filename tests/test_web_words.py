"""Numbers and states become words with their unit."""

import pytest

from assistant.vllm_server import Phase, ServerState
from assistant.web import words
from store.records import Deployment, DeploymentStatus, Usage
from trainer.evaluation.scorers import right_or_wrong

BASE = Deployment(1, "a", 1, None, (), 0, 592, DeploymentStatus.ACTIVE, 0.0)
SHORT = Deployment(2, "a", 1, "otter-quay-v0003", (), 4, 85, DeploymentStatus.ACTIVE, 0.0)
SCORE = {"mean": 12 / 135, "low": 0.05, "high": 0.14}


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (words.seconds(None), "–"),
        (words.seconds(0.412), "0.41 s"),
        (words.seconds(9.999), "10.0 s"),
        (words.seconds(59.99), "1 min 0 s"),
        (words.seconds(125), "2 min 5 s"),
        (words.seconds(3840), "1 h 4 min"),
        (words.remaining(None), ""),
        (words.remaining(-1), ""),
        (words.remaining(12), "about 10 s left"),
        (words.remaining(700), "about 12 min left"),
        (words.remaining(5400), "about 1.5 h left"),
        (words.ago(997.0, 1000.0), "just now"),
        (words.ago(700.0, 1000.0), "5 min ago"),
        (words.ago(-6200.0, 1000.0), "2 h ago"),
        (words.ago(1000.0 - 3 * 86400, 1000.0), "3 d ago"),
        (words.tokens(1), "1 token"),
        (words.tokens(1832), "1,832 tokens"),
        (words.cut(832, 32), "−96 %"),
        (words.cut(832, 832), "0 %"),
        (words.cut(0, 10), "–"),
        (words.cut(None, 10), "–"),
        (words.cut(10, None), "–"),
        (words.points(-0.0341), "−3.4"),
        (words.points(None), "–"),
        (words.soon(1000.0, 990.0), "in a moment"),
        (words.score(0.404, {"scorer": "chrf"}), "40"),
        (words.score(1.0, {"scorer": "sql:shop.sqlite"}), "right"),
        (words.score(0.0, {"scorer": "exact"}), "wrong"),
        (words.quality(SCORE, {"scorer": "exact", "examples": 135}), "12 of 135 right"),
        (words.quality(SCORE, {"scorer": "sql:shop.sqlite", "examples": 135}), "12 of 135 right"),
        (words.quality(SCORE, {"scorer": "chrf", "examples": 135}), "9 points"),
        (words.quality({"mean": 0.01}, {}), "1 point"),
        (words.quality(None, {}), "–"),
        (words.quality({}, {}), "–"),
        (words.deployment(BASE), "base model, full prompt"),
        (words.deployment(SHORT), "otter-quay-v0003, prompt of 85 tokens"),
        (
            words.usage(Usage(849, 832, 832, 30, 0.41, 2.0)),
            "prompt 832 tokens (total 849, cached 832) · first token 0.41 s",
        ),
        (
            words.server(ServerState(Phase.STARTING, "warming up", 100.0), 123.4),
            "vLLM loading: warming up, 23 s",
        ),
        (words.server(ServerState(Phase.READY, "ready", 100.0), 123.4), "vLLM ready"),
    ],
)
def test_values_have_their_unit(shown: str, text: str) -> None:
    assert shown == text


@pytest.mark.parametrize("scorer", ["exact", "json", "sql", "chrf", "bleu"])
def test_the_pages_count_answers_where_the_gate_calls_them_right_or_wrong(scorer: str) -> None:
    shown = words.quality({"mean": 1.0}, {"scorer": scorer, "examples": 2})
    assert (shown == "2 of 2 right") is right_or_wrong(scorer)
