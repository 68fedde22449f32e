"""Runs of an assistant to what the command line shows: a table, or plain JSON.

The web pages read the same reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from store.records import TrainingRun


def as_json(runs: Sequence[TrainingRun]) -> list[dict[str, Any]]:
    """Every run with its settings, verdict and measurements, oldest first."""
    return [asdict(run) for run in runs]


def as_table(runs: Sequence[TrainingRun]) -> Table:
    """A line a run: prompt tokens and quality before and after, time to first token, and the verdict."""
    table = Table(title="Prompt tokens per request after each retrain")
    for column in (
        "run",
        "status",
        "prompt tokens",
        "quality",
        "95 % interval",
        "gate examples",
        "first token cold",
        "first token cached",
        "why",
    ):
        table.add_column(column)
    for run in runs:
        report = run.report
        before, after, gate = report.get("before"), report.get("after"), report.get("gate", {})
        probe = report.get("probe", {})
        table.add_row(
            str(run.id),
            run.status.value,
            f"{before['prompt_tokens']} → {after['prompt_tokens']}" if before and after else "",
            f"{before['quality']['mean']:.3f} → {after['quality']['mean']:.3f}" if before and after else "",
            f"{after['quality']['low']:.3f} to {after['quality']['high']:.3f}" if after else "",
            str(gate.get("examples", "")),
            _times(probe, "cold"),
            _times(probe, "warm"),
            run.message,
        )
    return table


def _times(probe: dict[str, Any], state: str) -> str:
    if not probe:
        return ""
    return f"{probe['full'][state]['median_s']:.2f} → {probe['short'][state]['median_s']:.2f} s"
