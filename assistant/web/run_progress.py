"""A run and its events → what the Training page shows of it: phases, step, rate, time left, losses.

In: `TrainingRun` and `RunEvent`s. Out: HTML, and the losses for the curve. Any number may be missing. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from assistant.web import words
from assistant.web.plots import Loss
from store.records import RunEvent, RunStatus, TrainingRun

PHASES = ("dataset", "train", "publish", "variants", "gate", "swap", "probe")
# Short ones that belong to a phase of the stepper.
_PART_OF = {"environment": "train", "teacher": "train"}
_MEANING = {
    "dataset": "freezing the examples",
    "environment": "getting ready to train",
    "teacher": "asking the teacher about its answers",
    "train": "training the adapter",
    "publish": "publishing the adapter",
    "variants": "ranking the segments",
    "gate": "proving it on the gate examples",
    "swap": "swapping it in",
    "probe": "measuring the saving",
}


def run_status(run: TrainingRun, events: Sequence[RunEvent], now: float) -> str:
    """The head of a run: what it is, its phases, and how far the present one is."""
    running = run.status is RunStatus.RUNNING
    until = now if running else run.finished_at or now
    head = (
        f'<div class="run-head"><h3>Run {run.id}</h3><span class="badge '
        f'{_css(run.status)}">{run.status}</span>'
        f'<span class="dim">{escape(run.trigger)} · started {words.moment(run.started_at)} · '
        f"{words.seconds(until - run.started_at)}</span></div>"
    )
    message = f'<p class="run-message">{escape(run.message)}</p>' if run.message else ""
    if not running and not events:
        return f'<section class="run">{head}{message}</section>'
    return (
        f'<section class="run">{head}{_stepper(run, events)}{_now(events) if running else message}</section>'
    )


def losses(events: Sequence[RunEvent]) -> list[Loss]:
    """The points of the loss curve; a dev loss without a step belongs to the step before it."""
    points, step = [], 0.0
    for event in events:
        if event.phase != "train":
            continue
        step = float(event.data.get("step", step))
        for name, split in (("loss", "train"), ("dev_loss", "dev")):
            value = event.data.get(name)
            if isinstance(value, int | float):
                points.append(Loss(step, float(value), split))
    return points


def run_rows(runs: Sequence[TrainingRun], selected: int | None) -> str:
    """The runs so far, newest first; a click on one shows its verdict."""
    if not runs:
        return ""
    rows = "".join(_row(run, run.id == selected) for run in runs)
    return (
        '<div class="table"><table><thead><tr><th>Run</th><th>Result</th><th class="num">Prompt tokens</th>'
        '<th class="num">Quality</th><th class="num">Gate examples</th><th>Started</th><th '
        'class="num">Took</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _row(run: TrainingRun, selected: bool) -> str:
    before, after, gate = (_part(run.report, name) for name in ("before", "after", "gate"))
    tokens = words.NOTHING
    if after.get("prompt_tokens") is not None:
        tokens = f"{before.get('prompt_tokens', 0):,} → {after['prompt_tokens']:,}"
    quality = words.NOTHING
    if "quality" in after:
        means = [words.number(_part(part, "quality").get("mean")) for part in (before, after)]
        quality = " → ".join(means)
    took = words.seconds(run.finished_at - run.started_at) if run.finished_at else "running"
    return (
        f'<tr class="{"selected" if selected else ""}"><td><button type="button" class="small" '
        'data-event="pick" '
        f'data-id="{run.id}"{" aria-current=true" if selected else ""}>Run {run.id}</button></td>'
        f'<td><span class="badge {_css(run.status)}">{run.status}</span></td><td class="num">{tokens}</td>'
        f'<td class="num">{quality}</td>'
        f'<td class="num">{gate.get("examples", words.NOTHING)}</td><td>{words.moment(run.started_at)}</td>'
        f'<td class="num">{took}</td></tr>'
    )


def _stepper(run: TrainingRun, events: Sequence[RunEvent]) -> str:
    phases = [_PART_OF.get(event.phase, event.phase) for event in events]
    seen, current = set(phases), phases[-1] if phases else "dataset"
    items = []
    for phase in PHASES:
        state = "done" if phase in seen else "skipped" if run.status is not RunStatus.RUNNING else "ahead"
        if phase == current and run.status is RunStatus.RUNNING:
            state = "now"
        items.append(f'<li class="{state}" title="{_MEANING[phase]}"><span>{phase}</span></li>')
    return f'<ol class="stepper" id="run-phases">{"".join(items)}</ol>'


def _now(events: Sequence[RunEvent]) -> str:
    """One line and a bar about the present phase."""
    if not events:
        return '<p class="run-now">Starting…</p>'
    phase = events[-1].phase
    data: dict[str, Any] = {}
    for event in events:  # later numbers replace earlier ones; a dev loss alone must not hide the step
        if event.phase == phase:
            data |= event.data
    done, total = data.get("step", data.get("done")), data.get("steps", data.get("total"))
    facts = [_MEANING.get(phase, phase)]
    if phase == "gate" and data.get("what"):
        facts.append(str(data["what"]))
    if phase == "dataset" and "train" in data:
        facts.append(
            ", ".join(f"{data[split]:,} {split}" for split in ("train", "dev", "gate") if split in data)
        )
    if done is not None and total:
        facts.append(f"{'step ' if phase == 'train' else ''}{done:,} of {total:,}")
    if data.get("tokens_per_s"):
        facts.append(f"{data['tokens_per_s']:,.0f} tokens/s")
    if left := words.remaining(data.get("eta_s")):
        facts.append(left)
    share = f"{100 * min(1.0, done / total):.1f}%" if done is not None and total else "100%"
    busy = "" if done is not None and total else " busy"
    return (
        f'<p class="run-now" id="run-now">{escape(" · ".join(facts))}</p>'
        f'<div class="bar wide{busy}"><i style="width:{share}"></i></div>'
    )


def _css(status: RunStatus) -> str:
    return str(status).replace(" ", "-")


def _part(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A nested object of a report, empty when it is missing or something else."""
    part = value.get(name)
    return part if isinstance(part, Mapping) else {}
