"""A run and its events as the Training page shows them: steps, rate, time left, losses, and the list of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assistant.web import words
from assistant.web.markup import render
from assistant.web.verdict import SPLITS, answered_by
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
    phase, data = _present(events)
    done, total = data.get("step", data.get("done")), data.get("steps", data.get("total"))
    return render(
        "run_status.html",
        run=run,
        running=running,
        took=words.seconds((now if running else run.finished_at or now) - run.started_at),
        steps=_steps(events, running) if running or events else [],
        facts=_facts(phase, data, done, total) if phase else ["Starting…"],
        share=min(1.0, done / total) if done is not None and total else None,
    )


def losses(events: Sequence[RunEvent]) -> list[dict[str, Any]]:
    """The rows of the loss curve; a dev loss without a step belongs to the step before it."""
    points, step = [], 0.0
    for event in events:
        if event.phase != "train":
            continue
        step = float(event.data.get("step", step))
        for name, split in (("loss", "train"), ("dev_loss", "dev")):
            if event.data.get(name) is not None:
                points.append({"step": step, "value": float(event.data[name]), "split": split})
    return points


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


def _facts(phase: str, data: dict[str, Any], done: int | None, total: int | None) -> list[str]:
    """One line about the present phase."""
    facts = [_MEANING.get(phase) or STEPS[phase][1]]
    if phase == "gate" and data.get("what"):
        questions, _, system = str(data["what"]).rpartition(", ")
        facts += [questions, answered_by({}, system)]
    if phase == "dataset":
        facts += [f"{data[split]:,} {split}" for split in SPLITS if split in data]
    if total:
        facts.append(f"{'step ' if data.get('steps') else ''}{done or 0:,} of {total:,}")
    if data.get("tokens_per_s"):
        facts.append(f"{data['tokens_per_s']:,.0f} tokens/s")
    return [*facts, words.remaining(data.get("eta_s"))]
