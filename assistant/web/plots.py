"""Draws rows of values as charts, as wide as their place, in colours that work on light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import altair as alt
from altair import LayerChart as LayerChart

from assistant.web import words

PINE, RED, GREY = "#2b8f68", "#cf5a3d", "#8b968d"

Row = dict[str, Any]


def loss_curve(losses: Sequence[Row]) -> LayerChart:
    """Loss over steps: a thin line for train, a thicker one with points for dev. Rows: `step`, `value`, `split`."""
    lines = []
    for split, width in (("train", 1.5), ("dev", 2.5)):
        rows = [loss for loss in losses if loss["split"] == split]
        if rows:  # Vega warns about a layer without values
            point = alt.OverlayMarkDef(size=50) if split == "dev" or len(rows) == 1 else False
            lines.append(_chart(rows).mark_line(strokeWidth=width, point=point).encode(**_loss_axes()))
    return _finish(alt.layer(*lines), 220)


def _loss_axes() -> dict[str, Any]:
    scale = alt.Scale(domain=["train", "dev"], range=[GREY, PINE])
    return {
        "x": alt.X("step:Q", title="step", axis=alt.Axis(tickMinStep=1, grid=False)),
        "y": alt.Y("value:Q", title="loss per token", scale=alt.Scale(zero=False)),
        "color": alt.Color("split:N", scale=scale, legend=alt.Legend(title=None, orient="top-right")),
        "tooltip": ["split:N", "step:Q", alt.Tooltip("value:Q", title="loss", format=".3f")],
    }


def gate_comparisons(rows: Sequence[Row], margin: float, confidence: float) -> LayerChart:
    """Each comparison as a line from its lower bound to its difference, and the loss that is allowed, in points.

    Rows: `name`, `difference`, `lower`, `result` (passed or failed).
    """
    ends = [-margin, 0.0, *(end for row in rows for end in (row["lower"], row["difference"]))]
    pad = 0.08 * (max(ends) - min(ends))
    x = alt.X(
        "lower:Q",
        title=f"difference in points, with its {words.percent(confidence)} lower bound",
        scale=alt.Scale(domain=[min(ends) - pad, max(ends) + pad], nice=False),
        axis=alt.Axis(format="+.0f", tickCount=6),
    )
    base = _chart(rows).encode(**_comparison_axes([row["name"] for row in rows]))
    allowed = _chart([{"at": -margin, "text": f"{margin:g} points may be lost"}]).encode(x="at:Q")
    label = allowed.mark_text(align="left", dx=5, baseline="bottom", color=RED, fontSize=12)
    # Above the lines: phones have no room beside them.
    names = base.mark_text(align="left", dy=-13, fontSize=12)
    layers = (
        allowed.mark_rule(color=RED, strokeWidth=1.5, strokeDash=[5, 4]),
        base.mark_rule(strokeWidth=2.5).encode(x=x, x2="difference:Q"),
        base.mark_tick(thickness=3, size=16).encode(x=x),
        base.mark_circle(size=75, opacity=1).encode(x="difference:Q"),
        label.encode(y=alt.value(-4), text="text:N"),
        names.encode(x=alt.value(4), text="name:N", color=alt.value(GREY)),
    )
    return _finish(alt.layer(*layers), max(90, 42 * len(rows)))


def _comparison_axes(order: Sequence[str]) -> dict[str, Any]:
    colours = alt.Scale(domain=["passed", "failed"], range=[PINE, RED])
    return {
        "y": alt.Y("name:N", sort=order, title=None, axis=None),
        "color": alt.Color("result:N", scale=colours, legend=alt.Legend(title=None, orient="top")),
        "tooltip": [
            alt.Tooltip("name:N", title="comparison"),
            alt.Tooltip("difference:Q", format="+.1f"),
            alt.Tooltip("lower:Q", title="lower bound", format="+.1f"),
            "result:N",
        ],
    }


def tokens_over_time(requests: Sequence[Row], served: Sequence[Row], now: float) -> LayerChart:
    """Prompt tokens per request: a step line of what was served, dots for requests, marks for deployments.

    Rows: `at` (UTC seconds), `tokens`; those of `served` have a `label`, and hold from then on.
    """
    steps, dots = ([row | {"at": _time(row["at"])} for row in rows] for rows in (served, requests))
    ends = [*steps, {**steps[-1], "at": _time(now)}] if steps else []
    top = max((row["tokens"] for row in [*steps, *dots]), default=1)
    days = alt.Axis(grid=False, labelOverlap="greedy", labelSeparation=8, tickCount=5)
    x = alt.X("at:T", title=None, axis=days)
    y = alt.Y(
        "tokens:Q",
        title="prompt tokens per request",
        scale=alt.Scale(domain=[0, top * 1.25]),
        axis=alt.Axis(tickCount=5),
    )
    area = _chart(ends).encode(x=x, y=y)
    layers = [
        area.mark_area(interpolate="step-after", color=PINE, opacity=0.14),
        area.mark_line(interpolate="step-after", color=PINE, strokeWidth=2.5),
        _chart(steps).mark_rule(color=RED, strokeWidth=1.2).encode(x=x),
    ]
    if dots:
        answered = alt.Tooltip("at:T", title="answered", format="%d %b %H:%M")
        points = _chart(dots).mark_circle(size=26, color=PINE, opacity=0.55)
        layers.append(points.encode(x=x, y=y, tooltip=[answered, "tokens:Q"]))
    middle = (served[0]["at"] + now) / 2 if served else now
    for number, (one, step) in enumerate(zip(served, steps, strict=True)):
        layers.append(_mark_label(step, x, number, late=one["at"] > middle))
    return _finish(alt.layer(*layers), 280)


def _mark_label(step: Row, x: alt.X, number: int, *, late: bool) -> alt.Chart:
    """A deployment's label, on the side of its mark with more room; neighbours stand on different lines."""
    text = _chart([step]).mark_text(
        align="right" if late else "left", dx=-5 if late else 5, color=RED, fontSize=12
    )
    return text.encode(x=x, y=alt.value(8 + 15 * (number % 2)), text="label:N")


def _chart(rows: Sequence[Row]) -> alt.Chart:
    return alt.Chart(alt.Data(values=list(rows)))


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _finish(chart: LayerChart, height: int) -> LayerChart:
    lines = {"gridColor": GREY, "gridOpacity": 0.18, "domainColor": GREY, "tickColor": GREY}
    labels = {"labelColor": GREY, "labelFontSize": 12}
    return (
        chart.properties(width="container", height=height, background="transparent")
        .configure(font="ui-sans-serif, system-ui, sans-serif")
        .configure_view(strokeOpacity=0)
        .configure_axis(titleColor=GREY, titleFontSize=12, titleFontWeight="normal", **labels, **lines)
        .configure_legend(**labels)
    )
