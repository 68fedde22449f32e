"""Draws rows of values as charts, as wide as their place, in colours that work on light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import altair as alt
from altair import LayerChart as LayerChart

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


def tokens_over_time(served: Sequence[Row], now: float) -> LayerChart:
    """Prompt tokens per request: a step line of what was served, and a mark for each deployment.

    Rows: `at` (UTC seconds), `tokens` and `label`; each holds from then on.
    """
    steps = [row | {"at": _time(row["at"])} for row in served]
    ends = [*steps, {**steps[-1], "at": _time(now)}]
    top = max(row["tokens"] for row in steps) or 1
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
    middle = (served[0]["at"] + now) / 2
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
    finished = (
        chart.properties(width="container", height=height, background="transparent")
        .configure(font="ui-sans-serif, system-ui, sans-serif")
        .configure_view(strokeOpacity=0)
        .configure_axis(titleColor=GREY, titleFontSize=12, titleFontWeight="normal", **labels, **lines)
        .configure_legend(**labels)
    )
    finished["$schema"] = (
        "https://vega.github.io/schema/vega-lite/v5.json"  # what Gradio draws with; v6 warns
    )
    return finished
