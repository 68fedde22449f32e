"""Shows a run as HTML: its steps, the verdict, the answers behind it, and how ratings became examples."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from assistant.web import words
from assistant.web.markup import render
from assistant.web.run_estimate import estimate
from store import Store
from store.records import RunEvent, RunStatus, TrainingRun
from store.runs import SideBySide, Tally

SPLITS = {"train": "to train on", "dev": "to know when to stop", "gate": "to test it on"}
SHOWN_PAIRS = 3  # of those it lost most on, and as many of those it won most on
_SYSTEMS = {"base_full": "base model, full prompt", "active": "what served before"}
# What a run does, by the phase with which it begins: its name, and what happens in words.
STEPS = {
    "dataset": ("Read", "Reading the rated answers"),
    "train": ("Learn", "Learning from {train:,} answers"),
    "variants": ("Shorten", "Finding what the prompt can do without"),
    "gate": ("Test", "Testing it on {gate:,} questions that it has not seen"),
    "swap": ("Switch", "Switching over, and measuring what it saves"),
}
_STEP_OF = {"teacher": "dataset", "environment": "train", "publish": "train", "probe": "swap"}


def run_status(
    run: TrainingRun, events: Sequence[RunEvent], earlier: Iterable[TrainingRun], now: float
) -> str:
    """The head of a run: what it is, its steps, and how far it is. `earlier` as for `estimate`."""
    running = run.status is RunStatus.RUNNING
    counts = dict.fromkeys(SPLITS, 0) | {key: value for one in events for key, value in one.data.items()}
    begun = [step for event in events if (step := _STEP_OF.get(event.phase, event.phase)) in STEPS]
    states = {step: "done" if step in begun else "ahead" if running else "skipped" for step in STEPS}
    present = begun[-1] if begun else "dataset"
    if running:
        states[present] = "now"
    cut_short = run.status in (RunStatus.FAILED, RunStatus.INTERRUPTED)
    return render(
        "run_status.html",
        run=run,
        running=running,
        took=words.seconds((now if running else run.finished_at or now) - run.started_at),
        steps=[(STEPS[step][0], state) for step, state in states.items()] if running or cut_short else [],
        doing=STEPS[present][1].format(**counts),
        estimate=estimate(run, events, earlier, now) if running else None,
    )


def pill(store: Store) -> str:
    """The run that is under way, for the header of every page; it leads to the Training page."""
    run = store.runs.running()
    if run is None:
        return ""
    events, earlier = store.runs.events(run.id), store.runs.all(run.assistant_id)[1:]
    return render("run_pill.html", estimate=estimate(run, events, earlier, time.time()))


def technical(events: Sequence[RunEvent]) -> str:
    """One line about the present phase, for who wants to know."""
    if not events:
        return ""
    phase, data = events[-1].phase, dict[str, Any]()
    for event in events:  # a dev loss alone must not hide the step
        data |= event.data if event.phase == phase else {}
    questions, _, system = str(data.get("what", "")).rpartition(", ")
    done, total = data.get("step", data.get("done")), data.get("steps", data.get("total"))
    facts = [phase, questions, answered_by({}, system) if system else ""]
    facts += [f"{data[split]:,} {split}" for split in SPLITS if split in data]
    facts.append(f"{'step ' if data.get('steps') else ''}{done or 0:,} of {total:,}" if total else "")
    facts.append(f"{data['tokens_per_s']:,.0f} tokens/s" if data.get("tokens_per_s") else "")
    return " · ".join(fact for fact in facts if fact)


def losses(events: Sequence[RunEvent]) -> dict[str, list[tuple[float, float]]]:
    """Step and loss of each split; a dev loss without a step belongs to the step before it."""
    points, step = dict[str, list[tuple[float, float]]](train=[], dev=[]), 0.0
    for data in (event.data for event in events if event.phase == "train"):
        step = float(data.get("step", step))
        for name, split in (("loss", "train"), ("dev_loss", "dev")):
            if data.get(name) is not None:
                points[split].append((step, float(data[name])))
    return points


def verdict(
    report: Mapping[str, Any],
    tally: Tally | None = None,
    lost: Sequence[SideBySide] = (),
    won: Sequence[SideBySide] = (),
) -> str:
    """The decision and its evidence: how often the candidate did better, and the answers where it won and lost most.

    Empty without a gate.
    """
    gate = report.get("gate")
    if not gate:
        return ""
    names = {variant["variant"]: _prompt(variant) for variant in gate["variants"]}
    served = names.get(gate["chosen_variant"])
    article = {"full prompt": "the ", "no prompt": ""}.get(served or "", "a ")
    comparisons = [one for variant in gate["variants"] for one in variant.get("comparisons", ())]
    return render(
        "verdict.html",
        gate=gate,
        report=report,
        title=f"It answers with {article}{served}" if served else "What served before stays",
        prompts=names,
        references={one["reference"]: _system(one["reference"]) for one in comparisons},
        tally=tally if tally and tally.asked else None,
        names=[answered_by(gate, system) for system in compared(report) or ()],
        groups={
            "Where it won most": [pair for pair in won if pair.score > pair.other_score],
            "Where it lost most": [pair for pair in lost if pair.score < pair.other_score],
        },
    )


def details(report: Mapping[str, Any]) -> str:
    """What stands behind the verdict: how ratings became examples, guards, references, training, times."""
    gate, dataset = report.get("gate") or {}, report.get("dataset") or {}
    return render(
        "run_details.html",
        funnel=funnel(dataset, "funnel"),
        gate=gate,
        scores={_system(name): score for name, score in gate.get("scores", {}).items()},
        dataset=dataset,
        splits=SPLITS,
        training=report.get("training"),
        seconds=report.get("seconds", {}),
    )


def compared(report: Mapping[str, Any]) -> tuple[str, str] | None:
    """The system that the verdict is about, and the one that it was to replace; None without a gate."""
    gate = report.get("gate")
    return gate and (gate["shown"], "active" if "active" in gate["scores"] else "base_full")


def answered_by(gate: Mapping[str, Any], system: str) -> str:
    """A system of the gate's (“base_full”, “variant 3”) in words: “candidate, prompt of 16 tokens”."""
    for variant in gate.get("variants", ()):
        if system == f"variant {variant['variant']}":
            return f"candidate, {_prompt(variant)}"
    return "candidate, shorter prompt" if system.startswith("variant ") else _system(system)


def _system(name: str) -> str:
    return _SYSTEMS.get(name, name)


def _prompt(variant: Mapping[str, Any]) -> str:
    if variant["variant"] and variant["segment_ids"] and "prompt_tokens" not in variant:  # it was not tested
        return f"prompt of {words.count(len(variant['segment_ids']), 'segment')}"
    copies = variant.get("copy_at") is not None
    return words.prompt(variant["variant"], variant.get("prompt_tokens", 0), copies)


def funnel(dataset: Mapping[str, Any], id: str) -> str:
    """What was rated, what each rule left out, what is left for each split, as bars; empty where nothing was counted.

    `dataset` is that of a run's report, `id` that of the element.
    """
    dropped = {rule: n for rule, n in dataset.get("dropped", {}).items() if n}
    approved = sum(dataset.get(name, 0) for name in SPLITS)
    at = rated = approved + sum(dropped.values())
    bars = [("Answers that people rated", rated, "", 0)]  # label, count, CSS class, where the bar starts
    for rule, number in sorted(dropped.items(), key=lambda item: -item[1]):
        at -= number
        bars.append((f"− {rule}", number, "lost", at))
    bars.append(("Examples", approved, "", 0))
    at = 0
    for name, purpose in SPLITS.items():
        bars.append((f"{name}: {purpose}", dataset.get(name, 0), name, at))
        at += dataset.get(name, 0)
    return render("dataset_funnel.html", id=id, bars=bars, rated=rated, approved=approved) if rated else ""
