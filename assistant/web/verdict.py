"""A run's report → the gate's verdict as HTML, promoted and refused alike, and the bounds for its picture.

In: the report (plain JSON; any key may be missing). Out: HTML and plot values. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from assistant.web import words
from assistant.web.funnel import funnel
from assistant.web.plots import Bound

NAMES = {
    "base_full": "base, full prompt",
    "base_empty": "base, no prompt",
    "active": "active deployment",
    "candidate_full": "candidate, full prompt",
}


def verdict(report: Mapping[str, Any]) -> str:
    """The decision, its reasons and the test of each variant; empty without a gate."""
    gate = _mapping(report.get("gate"))
    if not gate:
        return ""
    return (
        f'<section class="verdict {"promoted" if gate.get("promoted") else "refused"}" id="verdict">'
        f"{_decision(gate)}{_variants(gate)}</section>"
    )


def details(report: Mapping[str, Any]) -> str:
    """What stands behind the verdict: how ratings became examples, guards, references, training, times."""
    gate = _mapping(report.get("gate"))
    picture = funnel(_mapping(report.get("dataset")))
    return (
        f'<section class="verdict">{picture}{_guards(gate)}{_references(gate)}{_training(report)}</section>'
    )


def bounds(report: Mapping[str, Any]) -> list[Bound]:
    """Every comparison that was tested, longest variant first."""
    found = []
    for variant in _mappings(_mapping(report.get("gate")).get("variants")):
        for item in _mappings(variant.get("comparisons")):
            if isinstance(item.get("difference"), int | float) and isinstance(item.get("lower"), int | float):
                name = str(item.get("reference"))
                found.append(
                    Bound(
                        f"variant {variant.get('variant')}",
                        NAMES.get(name, name),
                        item["difference"],
                        item["lower"],
                        bool(item.get("passed")),
                    )
                )
    return found


def compared(report: Mapping[str, Any]) -> tuple[str, str] | None:
    """The variant that the verdict is about, and what it was to replace; None for reports from before 0.1.0."""
    gate = _mapping(report.get("gate"))
    shown, scores = gate.get("shown"), _mapping(gate.get("scores"))
    if not isinstance(shown, str):
        return None
    return shown, "active" if "active" in scores else "base_full"


def margin(report: Mapping[str, Any]) -> float:
    value = _mapping(report.get("gate")).get("margin")
    return float(value) if isinstance(value, int | float) else 0.05


def _decision(gate: Mapping[str, Any]) -> str:
    promoted = bool(gate.get("promoted"))
    chosen = gate.get("chosen_variant")
    title = f"Promoted: variant {chosen} is served" if promoted else "Refused: what was active stays active"
    reasons = "".join(f"<li>{escape(str(reason))}</li>" for reason in gate.get("reasons") or ())
    facts = [
        words.count(gate["examples"], "gate example") if isinstance(gate.get("examples"), int) else "",
        f"scorer {gate['scorer']}" if gate.get("scorer") else "",
        f"margin {words.number(gate.get('margin'), 2)} points of the score",
        f"one-sided {100 * gate.get('confidence', 0.95):.0f} % bounds",
    ]
    if isinstance(gate.get("performance_index"), int | float):
        facts.append(f"performance index {words.number(gate['performance_index'], 2)}")
    if gate.get("more_examples"):
        facts.append(f"about {words.count(gate['more_examples'], 'more gate example')} would be needed")
    return (
        '<h3><span class="badge '
        f'{"good" if promoted else "bad"}">{"promoted" if promoted else "refused"}</span> '
        f'{escape(title)}</h3><ul class="reasons" id="verdict-reasons">{reasons}</ul>'
        f'<p class="dim">{escape(" · ".join(fact for fact in facts if fact))}</p>'
    )


def _variants(gate: Mapping[str, Any]) -> str:
    variants = _mappings(gate.get("variants"))
    if not variants:
        return ""
    names = list(
        dict.fromkeys(
            str(item.get("reference"))
            for variant in variants
            for item in _mappings(variant.get("comparisons"))
        )
    )
    head = "".join(f'<th class="num">vs {escape(NAMES.get(name, name))}</th>' for name in names)
    rows = "".join(_variant_row(variant, names, gate.get("chosen_variant")) for variant in variants)
    return (
        '<div class="table"><table id="verdict-variants"><thead><tr><th>Variant</th><th class="num">Prompt '
        "tokens</th>"
        '<th class="num">Segments</th><th class="num">Score (95 % '
        f"interval)</th>{head}<th>Result</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
        '<p class="small-print">Each comparison: difference in score, then its lower bound, which must lie above the '
        "margin. The first variant that is tested is the shortest that no longer one clearly beats on dev, then shorter "
        "ones; testing stops at the first failure.</p>"
    )


def _variant_row(variant: Mapping[str, Any], names: Sequence[str], chosen: object) -> str:
    comparisons = {str(item.get("reference")): item for item in _mappings(variant.get("comparisons"))}
    cells = "".join(_comparison(comparisons.get(name)) for name in names)
    number = variant.get("variant")
    if not variant.get("tested", True):
        result = '<span class="badge">not tested</span>'
    else:
        css, word = ("good", "passed") if variant.get("passed") else ("bad", "failed")
        result = f'<span class="badge {css}">{word}</span>'
    if chosen is not None and number == chosen:
        result += ' <span class="badge good">served</span>'
    segment_ids = variant.get("segment_ids") or ()
    tokens = variant.get("prompt_tokens")
    return (
        f'<tr class="{"selected" if number == chosen else ""}"><td>{escape(str(number))}</td>'
        f'<td class="num">{f"{tokens:,}" if isinstance(tokens, int) else words.NOTHING}</td>'
        f'<td class="num" title="{escape(", ".join(map(str, segment_ids)))}">{len(segment_ids)}</td>'
        f'<td class="num">{words.interval(_mapping(variant.get("score")))}</td>{cells}<td>{result}</td></tr>'
    )


def _comparison(item: Mapping[str, Any] | None) -> str:
    if item is None:
        return f'<td class="num">{words.NOTHING}</td>'
    css = "num" if item.get("passed") else "num fails"
    return (
        f'<td class="{css}">{words.signed(item.get("difference"))}, ≥ {words.signed(item.get("lower"))}</td>'
    )


def _references(gate: Mapping[str, Any]) -> str:
    scores = _mapping(gate.get("scores"))
    rows = "".join(
        f"<tr><td>{escape(NAMES.get(name, name))}</td><td class='num'>"
        f"{words.tokens(score.get('prompt_tokens'))}</td><td class='num'>{words.interval(score)}</td></tr>"
        for name, score in scores.items()
        if isinstance(score, Mapping)
    )
    if not rows:
        return ""
    return (
        "<details><summary>What it was compared with</summary><div "
        'class="table"><table><thead><tr><th>Answered by</th>'
        '<th class="num">Prompt</th><th class="num">Score (95 % '
        f"interval)</th></tr></thead><tbody>{rows}</tbody></table>"
        "</div></details>"
    )


def _guards(gate: Mapping[str, Any]) -> str:
    items = "".join(
        '<li><span class="badge '
        f'{"good" if guard.get("passed") else "bad"}">{"ok" if guard.get("passed") else "failed"}'
        f"</span> <b>{escape(str(guard.get('name', '')))}</b> {escape(str(guard.get('detail', '')))}</li>"
        for guard in _mappings(gate.get("guards"))
    )
    failed = any(not guard.get("passed") for guard in _mappings(gate.get("guards")))
    opened = " open" if failed else ""
    return (
        f"<details{opened}><summary>Guards</summary><ul class='guards'>{items}</ul></details>"
        if items
        else ""
    )


def _training(report: Mapping[str, Any]) -> str:
    training, dataset = _mapping(report.get("training")), _mapping(report.get("dataset"))
    facts = [
        ", ".join(
            f"{dataset[name]:,} {name}"
            for name in ("train", "dev", "gate")
            if isinstance(dataset.get(name), int)
        ),
        f"{words.count(training['steps'], 'step')} in {words.seconds(training.get('seconds'))}"
        if training.get("steps")
        else "",
        f"{training['tokens_per_s']:,.0f} tokens/s" if training.get("tokens_per_s") else "",
        f"dev loss {words.number(training.get('first_dev_loss'))} → {words.number(training.get('dev_loss'))}"
        if training.get("dev_loss") is not None
        else "",
        "stopped early" if training.get("stopped_early") else "",
        f"{training['peak_memory_mib']:,.0f} MiB at the peak" if training.get("peak_memory_mib") else "",
    ]
    replaced = ", ".join(
        f"{number:,} {kind}" for kind, number in _mapping(dataset.get("replaced")).items() if number
    )
    if replaced:
        facts.append(f"replaced by placeholders: {replaced}")
    times = ", ".join(
        f"{phase} {words.seconds(value)}" for phase, value in _mapping(report.get("seconds")).items()
    )
    lines = "".join(f"<p>{escape(line)}</p>" for line in (" · ".join(filter(None, facts)), times) if line)
    return f"<details><summary>Dataset, training and times</summary>{lines}</details>" if lines else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
