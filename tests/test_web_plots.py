"""Charts are valid and hold what they were given; damaged reports draw nothing and break nothing."""

from typing import Any

from assistant.web import plots, savings, verdict

REPORT: dict[str, Any] = {
    "gate": {
        "promoted": True,
        "margin": 0.05,
        "examples": 90,
        "scorer": "chrf",
        "chosen_variant": 1,
        "reasons": ["<b>why</b>"],
        "variants": [
            {
                "variant": 0,
                "segment_ids": ["a", "b"],
                "prompt_tokens": 592,
                "score": {"mean": 0.6, "low": 0.5, "high": 0.7},
                "comparisons": [{"reference": "base_full", "difference": 0.4, "lower": 0.36, "passed": True}],
                "passed": True,
                "tested": True,
            },
            {
                "variant": 1,
                "segment_ids": [],
                "prompt_tokens": 85,
                "comparisons": None,
                "passed": False,
                "tested": False,
            },
        ],
        "guards": [{"name": "length", "passed": True, "detail": "fine"}],
    },
    "probe": {"full": {"cold": {"median_s": 3.4, "n": 12}}, "short": {"cold": {"median_s": 0.3}}},
}


def names(spec: Any) -> str:
    return str(spec.to_dict())


def test_bounds_come_from_the_tested_variants_only() -> None:
    found = verdict.bounds(REPORT)
    assert found == [plots.Bound("variant 0", "base, full prompt", 0.4, 0.36, True)]
    drawn = names(plots.gate_bounds(found, verdict.margin(REPORT)))
    assert "variant 0 vs base, full prompt" in drawn
    assert "margin −0.05" in drawn


def test_loss_curve_and_tokens_over_time_hold_their_values() -> None:
    assert "0.87" in names(plots.loss_curve([plots.Loss(1, 2.1, "train"), plots.Loss(2, 0.87, "dev")]))
    served = [plots.Served(0.0, 592, "base"), plots.Served(50.0, 85, "otter-quay-v0001: 85 tokens")]
    drawn = names(plots.tokens_over_time([plots.Request(10.0, 592)], served, 100.0))
    assert "otter-quay-v0001: 85 tokens" in drawn
    assert names(plots.tokens_over_time([], [], 100.0))


def test_a_verdict_escapes_what_it_quotes() -> None:
    html = verdict.verdict(REPORT)
    assert "&lt;b&gt;why&lt;/b&gt;" in html
    assert "<b>why" not in html


def test_damaged_reports_are_shown_as_far_as_they_go() -> None:
    for report in (
        {},
        {"gate": None},
        {"gate": {"variants": "x", "scores": []}},
        {"gate": {"promoted": False}},
        {"probe": []},
    ):
        assert verdict.bounds(report) == []
        assert isinstance(verdict.verdict(report), str)
        assert isinstance(verdict.details(report), str)
        assert savings.probe(report, "full", "cold") is None


def test_probe_reads_the_medians() -> None:
    assert savings.probe(REPORT, "full", "cold") == 3.4
    assert savings.probe(REPORT, "short", "warm") is None


def test_cost_is_per_thousand_requests() -> None:
    cost = savings.cost(savings.Saving(592, 85, None), 1.0, 0.1)
    assert round(cost.cold_before, 3) == 0.592
    assert round(cost.warm_now, 4) == 0.0085
