"""Draws lines of values, as wide as their place: lines are SVG, every text is HTML and keeps its size on a phone."""

import time
from collections.abc import Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any

from assistant.web import words
from assistant.web.markup import moment, render
from store.answers import RequestTokens

Row = dict[str, Any]
Point = tuple[float, float]
_Bar = tuple[int, Sequence[float], int]  # its number, the mean tokens of each part, and of how many requests

_HOUR, _DAY = 3600, 86400
_STEPS_S = (60, 300, 900, 1800, _HOUR, 3 * _HOUR, 6 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY, 30 * _DAY, 365 * _DAY)
_MOST_TICKS = 6
_BARS = 48
_PARTS = ("prompt", "approved answers", "conversation")


def loss_curve(losses: Mapping[str, Sequence[Point]]) -> str:
    """Loss over steps, for train and dev; nothing of a single value."""
    points = [point for line in losses.values() for point in line]
    if len(points) < 2:
        return ""
    last = max(step for step, _ in points)
    ticks = [(step, f"{step:,g}") for step in _round(last)[1:]]
    top = max(loss for _, loss in points)
    return _chart("loss per token, by step", losses, ticks, (0.0, last or 1.0), top)


def tokens_over_time(
    served: Sequence[Row], now: float, requests: Sequence[RequestTokens] = (), corrected: Sequence[float] = ()
) -> str:
    """Prompt tokens per request as a step line, with a numbered mark for each deployment, and what served when.

    Rows: `at` (UTC seconds), `tokens` and `label`; each holds from then on. Behind the line stand what the requests
    cost on average, by part, and below it when corrections were written.
    """
    start = served[0]["at"]
    end, points = max(now, start + 1), list[Point]()
    for row, after in zip(served, [*served[1:], {"at": end}], strict=True):
        points += [(row["at"], row["tokens"]), (after["at"], row["tokens"])]
    bars = _bars(requests, start, end)
    top = max([*(row["tokens"] for row in served), *(sum(parts) for _, parts, _ in bars)])
    times = sorted(_bar_of(at, start, end) for at in corrected if start <= at <= end)
    form = "clock" if end - start < 2 * _DAY else "day"
    return _chart(
        "tokens per request, and those of the prompt that serves" if bars else "prompt tokens per request",
        {"tokens": points},
        [(at, moment(at, form)) for at in _times(start, end)],
        (start, end),
        top,
        served,
        bars,
        notes=[(100 * (n + 0.5) / _BARS, len([*same])) for n, same in groupby(times)],
    ) + render("served.html", served=served)


def _bar_of(at: float, start: float, end: float) -> int:
    return min(_BARS - 1, int(_BARS * (at - start) / (end - start)))


def _bars(requests: Sequence[RequestTokens], start: float, end: float) -> list[_Bar]:
    shown = [one for one in requests if start <= one.at <= end]
    bars = list[_Bar]()
    for number, same in groupby(shown, lambda one: _bar_of(one.at, start, end)):
        parts = [(one.prompt, one.demonstrations, one.conversation) for one in same]
        bars.append((number, [sum(part) / len(parts) for part in zip(*parts, strict=True)], len(parts)))
    return bars


def _chart(
    title: str,
    lines: Mapping[str, Sequence[Point]],
    ticks: Sequence[tuple[float, str]],
    span: tuple[float, float],
    highest: float,
    marks: Sequence[Row] = (),
    bars: Sequence[_Bar] = (),
    notes: Sequence[tuple[float, int]] = (),
) -> str:
    levels, (left, right) = _round(highest), span
    top = max(levels[-1], highest * 1.05) or 1.0

    def x(value: float) -> float:
        return round(100 * (value - left) / (right - left), 2)

    def y(value: float) -> float:
        return round(100 - 100 * value / top, 2)

    stacks = []
    for number, parts, requests in bars:
        label = ", ".join(f"{part:,.0f} {name}" for part, name in zip(parts, _PARTS, strict=True))
        rows = [
            (y(end), round(100 * part / top, 2)) for end, part in zip(accumulate(parts), parts, strict=True)
        ]
        stacks.append((round(100 * number / _BARS, 2), f"{words.count(requests, 'request')}: {label}", rows))
    return render(
        "chart.html",
        title=title,
        lines={
            name: " ".join(f"{x(a)},{y(b)}" for a, b in points) for name, points in lines.items() if points
        },
        ticks=[(x(at), label) for at, label in ticks],
        levels=[(y(level), f"{level:,g}") for level in levels],
        parts=_PARTS if bars else (),
        stacks=stacks,
        width=round(80 / _BARS, 2),
        notes=notes,
        marks=_raise_overlapping([(x(row["at"]), y(row["tokens"]), row["label"]) for row in marks]),
    )


def _raise_overlapping(marks: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str, int]]:
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
