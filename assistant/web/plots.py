"""Draws lines of values, as wide as their place: lines are SVG, every text is HTML and keeps its size on a phone."""

import time
from collections.abc import Sequence
from typing import Any

from assistant.web.markup import moment, render

Row = dict[str, Any]
Point = tuple[float, float]

_HOUR, _DAY = 3600, 86400
_STEPS_S = (60, 300, 900, 1800, _HOUR, 3 * _HOUR, 6 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY, 30 * _DAY, 365 * _DAY)
_MOST_TICKS = 6


def loss_curve(losses: Sequence[Row]) -> str:
    """Loss over steps, for train and dev. Rows: `step`, `value`, `split`."""
    top, last = max(row["value"] for row in losses), max(row["step"] for row in losses)
    lines = [
        (split, [(row["step"], row["value"]) for row in losses if row["split"] == split])
        for split in ("train", "dev")
    ]
    ticks = [(step, f"{step:,g}") for step in _round(last)[1:]]
    return _chart("loss per token, by step", lines, ticks, 0.0, last or 1.0, top)


def tokens_over_time(served: Sequence[Row], now: float) -> str:
    """Prompt tokens per request as a step line, with a numbered mark for each deployment, and what served when.

    Rows: `at` (UTC seconds), `tokens` and `label`; each holds from then on.
    """
    start, points = served[0]["at"], list[Point]()
    for row, after in zip(served, [*served[1:], {"at": max(now, start + 1)}], strict=True):
        points += [(row["at"], row["tokens"]), (after["at"], row["tokens"])]
    top = max(row["tokens"] for row in served)
    end = points[-1][0]
    form = "clock" if end - start < 2 * _DAY else "day"
    ticks = [(at, moment(at, form)) for at in _times(start, end)]
    return _chart(
        "prompt tokens per request", [("tokens", points)], ticks, start, end, top, marks=served
    ) + render("served.html", served=served)


def _chart(
    title: str,
    lines: Sequence[tuple[str, Sequence[Point]]],
    ticks: Sequence[tuple[float, str]],
    left: float,
    right: float,
    highest: float,
    marks: Sequence[Row] = (),
) -> str:
    levels = _round(highest)
    top = max(levels[-1], highest * 1.05) or 1.0

    def x(value: float) -> float:
        return round(100 * (value - left) / (right - left), 2)

    def y(value: float) -> float:
        return round(100 - 100 * value / top, 2)

    drawn = [(name, " ".join(f"{x(a)},{y(b)}" for a, b in points)) for name, points in lines if points]
    return render(
        "chart.html",
        title=title,
        lines=drawn,
        ticks=[(x(at), label) for at, label in ticks],
        levels=[(y(level), f"{level:,g}") for level in levels],
        marks=_lifted([(x(row["at"]), y(row["tokens"]), row["label"]) for row in marks]),
    )


def _lifted(marks: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str, int]]:
    """Each with how many of those just before it would cover it: so many lines higher it stands."""
    lifted: list[tuple[float, float, str, int]] = []
    for left, top, label in marks:
        near = [lift for x, y, _, lift in lifted[-3:] if left - x < 7 and abs(top - y) < 12]
        lifted.append((left, top, label, max(near, default=-1) + 1))
    return lifted


def _round(highest: float) -> list[float]:
    """Round values from 0 up to `highest` or just above it, at most `_MOST_TICKS`."""
    size = 10.0 ** len(f"{max(1.0, highest):.0f}") / 100
    step = next(size * times for times in (0.5, 1, 2, 2.5, 5, 10, 20, 50) if highest <= size * times * 5)
    return [step * number for number in range(_MOST_TICKS) if step * (number - 1) < highest] or [0.0]


def _times(start: float, end: float) -> list[float]:
    """Whole hours, days or the like of local time, at most `_MOST_TICKS`."""
    fits = (step for step in _STEPS_S if (end - start) / step <= _MOST_TICKS - 1)
    step = next(fits, max(end - start, 1.0))
    offset = time.localtime(start).tm_gmtoff
    first = -(-(start + offset) // step) * step - offset
    return [first + number * step for number in range(_MOST_TICKS) if first + number * step <= end]
