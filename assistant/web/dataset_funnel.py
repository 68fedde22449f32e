"""How ratings became examples, as a picture: what was rated, what each rule left out, what is left for each split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assistant.web.markup import render

SPLITS = {"train": "to train on", "dev": "to know when to stop", "gate": "to test it on"}


@dataclass(frozen=True)
class _Bar:
    """`start` and `width` are per cent of all that was rated; `kind` is a CSS class."""

    label: str
    count: int
    kind: str
    start: float
    width: float


def funnel(dataset: Mapping[str, Any], id: str) -> str:
    """The `dataset` of a run's report; empty where nothing was counted. `id` is that of the element."""
    splits = {name: int(dataset.get(name, 0)) for name in SPLITS}
    dropped = {rule: n for rule, n in dataset.get("dropped", {}).items() if n}
    approved = sum(splits.values())
    rated = approved + sum(dropped.values())
    if not rated:
        return ""
    bars = [_Bar("Answers that people rated", rated, "", 0, 100)]
    at = rated
    for rule, number in sorted(dropped.items(), key=lambda item: -item[1]):
        at -= number
        bars.append(_Bar(f"− {rule}", number, "lost", 100 * at / rated, 100 * number / rated))
    bars.append(_Bar("Examples", approved, "", 0, 100 * approved / rated))
    at = 0
    for name, purpose in SPLITS.items():
        label = f"{name}: {purpose}"
        bars.append(_Bar(label, splits[name], name, 100 * at / rated, 100 * splits[name] / rated))
        at += splits[name]
    return render("dataset_funnel.html", id=id, bars=bars, rated=rated, approved=approved)
