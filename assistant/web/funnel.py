"""A dataset's counts → a picture of how ratings became examples: what was rated, what each rule left out, what is left.

In: the `dataset` part of a run's report (any key may be missing). Out: HTML. Pure. Does not know the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_SPLITS = (("train", "to train on"), ("dev", "to know when to stop"), ("gate", "to prove it on"))


def funnel(dataset: Mapping[str, Any], id: str = "funnel") -> str:
    """Empty where nothing was counted. `id` tells it from others on the pages."""
    splits = {name: _number(dataset.get(name)) for name, _ in _SPLITS}
    dropped = dataset.get("dropped")
    rules = {str(rule): _number(n) for rule, n in dropped.items()} if isinstance(dropped, Mapping) else {}
    approved, lost = sum(splits.values()), sum(rules.values())
    if not approved + lost:
        return ""
    rated = approved + lost
    rows = [_row("Answers that people rated", rated, rated)]
    at = rated
    for rule, count in sorted(rules.items(), key=lambda item: -item[1]):
        if count:
            at -= count
            rows.append(_row(f"− {rule}", count, rated, "lost", 100 * at / rated))
    rows.append(_row("Examples", approved, rated))
    start = 0.0
    for name, purpose in _SPLITS:
        if name == "train":
            purpose += _topics(dataset)
        rows.append(_row(f"{name}: {purpose}", splits[name], rated, name, start))
        start += 100 * splits[name] / rated
    said = f"Of {rated:,} rated answers {approved:,} became examples."
    return f'<div class="funnel" id="{id}" role="img" aria-label="{escape(said)}">{"".join(rows)}</div>'


def _topics(dataset: Mapping[str, Any]) -> str:
    """How many there are to train on, and how large the largest is."""
    count, share = _number(dataset.get("topics")), dataset.get("largest_topic")
    if count < 2 or not isinstance(share, float):
        return ""
    return f" ({count:,} topics, the largest {share:.0%})"


def _row(label: str, count: int, most: int, kind: str = "", start: float = 0.0) -> str:
    width = 100 * count / most
    return (
        f'<span>{escape(label)}</span><b>{count:,}</b><div class="track">'
        f'<i class="{kind}" style="margin-left:{start:.2f}%;width:{width:.2f}%"></i></div>'
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
