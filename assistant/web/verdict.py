"""Shows a run's report: the verdict, promoted or refused, the answers behind it, and how ratings became examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assistant.web import words
from assistant.web.markup import render
from assistant.web.plots import LayerChart, gate_comparisons
from store.runs import SideBySide, Tally

SPLITS = {"train": "to train on", "dev": "to know when to stop", "gate": "to test it on"}
SHOWN_PAIRS = 5  # of those it lost most on, and as many of those it won most on
_MARGIN, _CONFIDENCE = 0.05, 0.95
_SYSTEMS = {
    "base_full": "base model, full prompt",
    "base_empty": "base model, no prompt",
    "active": "what is served now",
    "candidate_full": "candidate, full prompt",
}


def verdict(report: Mapping[str, Any]) -> str:
    """The decision, its reasons and the test of each prompt; empty without a gate."""
    gate = report.get("gate")
    if not gate:
        return ""
    tested = gate.get("variants", [])
    references = dict.fromkeys(
        one["reference"] for variant in tested for one in variant.get("comparisons", ())
    )
    return render(
        "verdict.html",
        gate=gate,
        title=_title(gate),
        facts=_gate_facts(gate),
        prompts=[_row(variant, references, gate) for variant in tested],
        references=[_SYSTEMS.get(name, name) for name in references],
        margin=f"{100 * gate.get('margin', _MARGIN):g} points",
        confidence=words.percent(gate.get("confidence", _CONFIDENCE)),
    )


def details(report: Mapping[str, Any]) -> str:
    """What stands behind the verdict: how ratings became examples, guards, references, training, times."""
    gate, dataset = report.get("gate") or {}, report.get("dataset") or {}
    scores = {
        _SYSTEMS.get(name, name): (words.tokens(score.get("prompt_tokens")), words.quality(score, gate))
        for name, score in gate.get("scores", {}).items()
    }
    times = [f"{phase} {words.seconds(value)}" for phase, value in report.get("seconds", {}).items()]
    return render(
        "run_details.html",
        funnel=funnel(dataset, "funnel"),
        guards=gate.get("guards", ()),
        scores=scores,
        facts=[" · ".join(_training_facts(report.get("training") or {}, dataset)), ", ".join(times)],
    )


def side_by_side(
    report: Mapping[str, Any], tally: Tally, lost: Sequence[SideBySide], won: Sequence[SideBySide]
) -> str:
    """How often the candidate did better, and the answers where it lost and won most; empty without answers."""
    groups = {
        "Lost most": [pair for pair in lost if pair.score < pair.other_score],
        "Won most": [pair for pair in won if pair.score > pair.other_score],
    }
    names = [answered_by(report.get("gate", {}), system) for system in compared(report) or ()]
    return render("side_by_side.html", tally=tally, groups=groups, names=names) if tally.asked else ""


def chart(report: Mapping[str, Any]) -> LayerChart | None:
    """Every comparison that was made, longest prompt first; None where none was."""
    gate = report.get("gate") or {}
    rows = [
        {
            "name": f"{_prompt(variant)}, against {_SYSTEMS.get(one['reference'], one['reference'])}",
            "difference": 100 * one["difference"],
            "lower": 100 * one["lower"],
            "result": "passed" if one["passed"] else "failed",
        }
        for variant in gate.get("variants", ())
        for one in variant.get("comparisons", ())
    ]
    if not rows:
        return None
    return gate_comparisons(rows, 100 * gate.get("margin", _MARGIN), gate.get("confidence", _CONFIDENCE))


def compared(report: Mapping[str, Any]) -> tuple[str, str] | None:
    """The system that the verdict is about, and the one that it was to replace; None without a gate."""
    gate = report.get("gate") or {}
    if "shown" not in gate:
        return None
    return gate["shown"], "active" if "active" in gate.get("scores", {}) else "base_full"


def answered_by(gate: Mapping[str, Any], system: str) -> str:
    """A system of the gate's (“base_full”, “variant 3”) in words: “candidate, prompt of 16 tokens”."""
    for variant in gate.get("variants", ()):
        if system == f"variant {variant['variant']}":
            return f"candidate, {_prompt(variant)}"
    return _SYSTEMS.get(system, "candidate, shorter prompt" if system.startswith("variant ") else system)


def _title(gate: Mapping[str, Any]) -> str:
    if not gate.get("promoted"):
        return "What was served stays"
    for variant in gate.get("variants", ()):
        if variant["variant"] == gate.get("chosen_variant"):
            return f"The {_prompt(variant)} is served"
    return "The candidate is served"


def _gate_facts(gate: Mapping[str, Any]) -> list[str]:
    facts = [
        gate.get("examples") and words.count(gate["examples"], "test answer"),
        gate.get("scorer") and f"scorer {gate['scorer']}",
        gate.get("more_examples")
        and f"about {words.count(gate['more_examples'], 'more test answer')} would be needed",
    ]
    return [fact for fact in facts if fact]


def _prompt(variant: Mapping[str, Any]) -> str:
    if variant["variant"] == 0:
        return "full prompt"
    if not variant.get("segment_ids"):
        return "no prompt"
    if variant.get("prompt_tokens") is None:
        return f"prompt of {words.count(len(variant['segment_ids']), 'segment')}"
    return f"prompt of {words.tokens(variant['prompt_tokens'])}"


def _row(
    variant: Mapping[str, Any], references: Mapping[str, Any], gate: Mapping[str, Any]
) -> dict[str, Any]:
    found = {one["reference"]: one for one in variant.get("comparisons", ())}
    return {
        "name": _prompt(variant),
        "segments": len(variant.get("segment_ids", ())),
        "quality": words.quality(variant.get("score"), gate),
        "comparisons": [found.get(name) for name in references],
        "tested": variant.get("tested", True),
        "passed": variant.get("passed"),
        "served": variant["variant"] == gate.get("chosen_variant"),
    }


def _training_facts(training: Mapping[str, Any], dataset: Mapping[str, Any]) -> list[str]:
    first, last = (words.number(training.get(name), 3) for name in ("first_dev_loss", "dev_loss"))
    replaced = [f"{number:,} {kind}" for kind, number in dataset.get("replaced", {}).items() if number]
    facts = [
        ", ".join(f"{dataset[name]:,} {name}" for name in SPLITS if name in dataset),
        training.get("steps")
        and f"{words.count(training['steps'], 'step')} in {words.seconds(training.get('seconds'))}",
        training.get("tokens_per_s") and f"{training['tokens_per_s']:,.0f} tokens/s",
        last != words.NOTHING and f"dev loss {first} → {last}",
        training.get("stopped_early") and "stopped early",
        training.get("peak_memory_mib") and f"{training['peak_memory_mib']:,.0f} MiB at the peak",
        replaced and f"replaced by placeholders: {', '.join(replaced)}",
    ]
    return [str(fact) for fact in facts if fact]


def funnel(dataset: Mapping[str, Any], id: str) -> str:
    """What was rated, what each rule left out, what is left for each split, as bars; empty where nothing was counted.

    `dataset` is that of a run's report, `id` that of the element.
    """
    splits = {name: int(dataset.get(name, 0)) for name in SPLITS}
    dropped = {rule: n for rule, n in dataset.get("dropped", {}).items() if n}
    approved = sum(splits.values())
    rated = approved + sum(dropped.values())
    if not rated:
        return ""
    bars = [("Answers that people rated", rated, "", 0)]  # label, count, CSS class, where the bar starts
    at = rated
    for rule, number in sorted(dropped.items(), key=lambda item: -item[1]):
        at -= number
        bars.append((f"− {rule}", number, "lost", at))
    bars.append(("Examples", approved, "", 0))
    at = 0
    for name, purpose in SPLITS.items():
        bars.append((f"{name}: {purpose}", splits[name], name, at))
        at += splits[name]
    return render("dataset_funnel.html", id=id, bars=bars, rated=rated, approved=approved)
