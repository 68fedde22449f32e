"""The command `report`: what each retrain changed, as a table or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from store.records import TrainingRun
from trainer.command_line import AsJson, Assistant, DataDir, console, open_assistant

_COLUMNS = (
    "run",
    "status",
    "prompt tokens",
    "quality",
    "95 % interval",
    "gate examples",
    "first token cold",
    "first token cached",
    "why",
)


def report(data_dir: DataDir = Path("data"), assistant: Assistant = "", as_json: AsJson = False) -> None:
    """What each retrain changed, and why to trust it."""
    store, name = open_assistant(data_dir, assistant)
    runs = store.runs.all(name)[::-1]
    if as_json:
        print(json.dumps([asdict(run) for run in runs], indent=1))
    elif runs:
        console.print(table(runs))
    else:
        console.print("No retrain yet. Rate some answers, then: python -m trainer once")


def table(runs: Sequence[TrainingRun]) -> Table:
    """A line a run: prompt tokens and quality before and after, time to first token, and the verdict."""
    found = Table(*_COLUMNS, title="Prompt tokens per request after each retrain")
    for run in runs:
        before, after = run.report.get("before"), run.report.get("after")
        probe, examples = run.report.get("probe"), run.report.get("gate", {}).get("examples", "")
        tokens = quality = interval = cold = cached = ""
        if before and after:
            tokens = f"{before['prompt_tokens']} → {after['prompt_tokens']}"
            quality = f"{before['quality']['mean']:.3f} → {after['quality']['mean']:.3f}"
        if after:
            interval = f"{after['quality']['low']:.3f} to {after['quality']['high']:.3f}"
        if probe:
            cold, cached = _times(probe, "cold"), _times(probe, "warm")
        times = [cold, cached, escape(run.message)]
        found.add_row(str(run.id), run.status.value, tokens, quality, interval, str(examples), *times)
    return found


def _times(probe: dict[str, Any], state: str) -> str:
    return f"{probe['full'][state]['median_s']:.2f} → {probe['short'][state]['median_s']:.2f} s"
