"""A run and its events as the Training page shows them: steps, rate, time left, losses, and the list of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assistant.web import words
from assistant.web.markup import render
from assistant.web.plots import Loss
from assistant.web.verdict import answered_by
from store.records import RunEvent, RunStatus, TrainingRun

# Phases that are a step on the page: its name, and what happens.
STEPS = {
    "dataset": ("examples", "collecting the examples"),
    "train": ("training", "training the adapter"),
    "publish": ("saving", "saving the adapter"),
    "variants": ("prompts", "choosing shorter prompts"),
    "gate": ("test", "testing it on answers that it has not seen"),
    "swap": ("switch", "switching to it"),
    "probe": ("timing", "measuring the saving"),
}
# Short phases that belong to a step; whatever else is noted, such as that a run went on, belongs to the step before.
_PART_OF = {"environment": "train", "teacher": "train"}
_MEANING = {"environment": "getting ready to train", "teacher": "asking the teacher about its answers"}


def run_status(run: TrainingRun, events: Sequence[RunEvent], now: float) -> str:
    """The head of a run: what it is, its steps, and how far the present one is."""
    running = run.status is RunStatus.RUNNING
    return render(
        "run_status.html",
        run=run,
        running=running,
        took=words.seconds((now if running else run.finished_at or now) - run.started_at),
        steps=_steps(events, running) if running or events else [],
        facts=_facts(events),
        share=_share(events),
    )


def losses(events: Sequence[RunEvent]) -> list[Loss]:
    """The points of the loss curve; a dev loss without a step belongs to the step before it."""
    points, step = [], 0.0
    for event in events:
        if event.phase != "train":
            continue
        step = float(event.data.get("step", step))
        for name, split in (("loss", "train"), ("dev_loss", "dev")):
            if event.data.get(name) is not None:
                points.append(Loss(step, float(event.data[name]), split))
    return points


def run_rows(runs: Sequence[TrainingRun], selected: int | None) -> str:
    """The runs so far, newest first; a click on one shows its verdict."""
    return render("runs.html", runs=runs, selected=selected) if runs else ""


def _steps(events: Sequence[RunEvent], running: bool) -> list[tuple[str, str, str]]:
    """Of each step its name, what happens, and done, now, ahead or skipped."""
    phases = [_PART_OF.get(event.phase, event.phase) for event in events]
    known = [phase for phase in phases if phase in STEPS] or ["dataset"]
    states = {phase: "done" if phase in phases else "ahead" if running else "skipped" for phase in STEPS}
    if running:
        states[known[-1]] = "now"
    return [(*STEPS[phase], state) for phase, state in states.items()]


def _present(events: Sequence[RunEvent]) -> tuple[str, dict[str, Any]]:
    """The present phase and its newest numbers: a dev loss alone must not hide the step."""
    known = [event for event in events if event.phase in STEPS or event.phase in _PART_OF]
    if not known:
        return "", {}
    phase = known[-1].phase
    data: dict[str, Any] = {}
    for event in known:
        if event.phase == phase:
            data |= event.data
    return phase, data


def _share(events: Sequence[RunEvent]) -> float | None:
    """How much of the present phase is done, 0 to 1; None where nobody knows."""
    _, data = _present(events)
    done, total = data.get("step", data.get("done")), data.get("steps", data.get("total"))
    return min(1.0, done / total) if done is not None and total else None


def _facts(events: Sequence[RunEvent]) -> list[str]:
    """One line about the present phase."""
    phase, data = _present(events)
    if not phase:
        return ["Starting…"]
    facts = [_MEANING.get(phase) or STEPS[phase][1]]
    if phase == "gate" and data.get("what"):
        questions, _, system = str(data["what"]).rpartition(", ")
        facts += [questions] * bool(questions) + [answered_by({}, system)]
    if phase == "dataset":
        facts += [f"{data[split]:,} {split}" for split in ("train", "dev", "gate") if split in data]
    if data.get("steps"):
        facts.append(f"step {data.get('step', 0):,} of {data['steps']:,}")
    elif data.get("total"):
        facts.append(f"{data.get('done', 0):,} of {data['total']:,}")
    if data.get("tokens_per_s"):
        facts.append(f"{data['tokens_per_s']:,.0f} tokens/s")
    return [*facts, words.remaining(data.get("eta_s"))]
