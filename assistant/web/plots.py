"""Values → charts. The only file that imports Altair.

In: plain numbers. Out: Altair charts that are as wide as their place, with colours that work on light and
dark. Pure; knows neither the store nor a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import altair as alt

PINE, RED, GREY, AMBER = "#2b8f68", "#cf5a3d", "#8b968d", "#c58a1f"
_FONT = "ui-sans-serif, system-ui, sans-serif"


@dataclass(frozen=True)
class Loss:
    step: float
    value: float
    split: str  # train or dev


@dataclass(frozen=True)
class Bound:
    """One comparison of the gate: the difference in score and its lower bound."""

    variant: str
    reference: str
    difference: float
    lower: float
    passed: bool


@dataclass(frozen=True)
class Request:
    at: float
    prompt_tokens: int


@dataclass(frozen=True)
class Served:
    """From `at` on requests carried this many prompt tokens."""

    at: float
    prompt_tokens: int
    label: str


def loss_curve(losses: Sequence[Loss]) -> alt.LayerChart:
    """Loss over steps: a thin line for train, a thicker one with points for dev."""
    lines = []
    for split, width in (("train", 1.5), ("dev", 2.5)):
        rows: list[dict[str, object]] = [vars(item) for item in losses if item.split == split]
        if rows:  # Vega warns about a layer without values
            point = alt.OverlayMarkDef(size=50) if split == "dev" or len(rows) == 1 else False
            lines.append(_loss_axes(rows).mark_line(strokeWidth=width, point=point))
    return _finish(alt.layer(*lines), 220)


def _loss_axes(rows: list[dict[str, object]]) -> alt.Chart:
    scale = alt.Scale(domain=["train", "dev"], range=[GREY, PINE])
    return alt.Chart(_values(rows)).encode(
        x=alt.X("step:Q", title="step", axis=alt.Axis(tickMinStep=1, grid=False)),
        y=alt.Y("value:Q", title="loss per token (nats)", scale=alt.Scale(zero=False)),
        color=alt.Color("split:N", scale=scale, legend=alt.Legend(title=None, orient="top-right")),
        tooltip=[
            alt.Tooltip("split:N"),
            alt.Tooltip("step:Q"),
            alt.Tooltip("value:Q", title="loss", format=".3f"),
        ],
    )


def gate_bounds(bounds: Sequence[Bound], margin: float) -> alt.LayerChart:
    """Each comparison as a line from its lower bound to its difference, and the margin to be cleared."""
    rows = _values(
        [
            {
                **vars(item),
                "row": f"{item.variant} vs {item.reference}",
                "verdict": "passed" if item.passed else "failed",
            }
            for item in bounds
        ]
    )
    order = [f"{item.variant} vs {item.reference}" for item in bounds]
    base = alt.Chart(rows).encode(
        y=alt.Y("row:N", sort=order, title=None, axis=alt.Axis(labelLimit=260, ticks=False, domain=False)),
        color=alt.Color(
            "verdict:N",
            scale=alt.Scale(domain=["passed", "failed"], range=[PINE, RED]),
            legend=alt.Legend(title=None, orient="top"),
        ),
        tooltip=[
            alt.Tooltip("row:N", title="comparison"),
            alt.Tooltip("difference:Q", format="+.3f"),
            alt.Tooltip("lower:Q", title="lower bound", format="+.3f"),
            alt.Tooltip("verdict:N"),
        ],
    )
    ends = [value for item in bounds for value in (item.lower, item.difference)] + [-margin, 0.0]
    pad = 0.08 * (max(ends) - min(ends))
    x = alt.X(
        "lower:Q",
        title="difference in score, with its lower 95 % bound (bar)",
        scale=alt.Scale(domain=[min(ends) - pad, max(ends) + pad], nice=False),
        axis=alt.Axis(format="+.2f", tickCount=6),
    )
    line = base.mark_rule(strokeWidth=2.5).encode(x=x, x2="difference:Q")
    bound = base.mark_tick(thickness=3, size=16).encode(x=x)
    point = base.mark_circle(size=75, opacity=1).encode(x="difference:Q")
    edge = alt.Chart(_values([{"at": -margin, "text": f"margin −{margin:g}"}])).encode(x="at:Q")
    return _finish(
        alt.layer(
            edge.mark_rule(color=RED, strokeWidth=1.5, strokeDash=[5, 4]),
            line,
            bound,
            point,
            edge.mark_text(align="left", dx=5, baseline="bottom", color=RED, fontSize=12).encode(
                y=alt.value(-4), text="text:N"
            ),
        ),
        max(90, 30 * len(bounds)),
    )


def tokens_over_time(requests: Sequence[Request], served: Sequence[Served], now: float) -> alt.LayerChart:
    """Prompt tokens per request: a step line of what was served, dots for requests, marks for deployments."""
    steps = [{"at": _time(item.at), "tokens": item.prompt_tokens, "label": item.label} for item in served]
    ends = [*steps, {"at": _time(now), "tokens": served[-1].prompt_tokens, "label": ""}] if served else []
    dots: list[dict[str, object]] = [
        {"at": _time(item.at), "tokens": item.prompt_tokens} for item in requests
    ]
    top = max([item.prompt_tokens for item in served] + [item.prompt_tokens for item in requests], default=1)
    x = alt.X(
        "at:T", title=None, axis=alt.Axis(grid=False, labelOverlap="greedy", labelSeparation=8, tickCount=5)
    )
    y = alt.Y(
        "tokens:Q",
        title="prompt tokens per request",
        scale=alt.Scale(domain=[0, top * 1.25]),
        axis=alt.Axis(tickCount=5),
    )
    area = alt.Chart(_values(ends)).encode(x=x, y=y)
    marks = alt.Chart(_values(steps)).encode(x=x)
    middle = (served[0].at + now) / 2 if served else now
    return _finish(
        alt.layer(
            area.mark_area(interpolate="step-after", color=PINE, opacity=0.14),
            area.mark_line(interpolate="step-after", color=PINE, strokeWidth=2.5),
            *([_dots(dots, x, y)] if dots else []),
            marks.mark_rule(color=RED, strokeWidth=1.2),
            *(
                _mark_label(step, x, number, late=item.at > middle)
                for number, (item, step) in enumerate(zip(served, steps, strict=True))
            ),
        ),
        280,
    )


def _dots(rows: list[dict[str, object]], x: alt.X, y: alt.Y) -> alt.Chart:
    """One dot per answered request."""
    answered = alt.Tooltip("at:T", title="answered", format="%d %b %H:%M")
    points = alt.Chart(_values(rows)).mark_circle(size=26, color=PINE, opacity=0.55)
    return points.encode(x=x, y=y, tooltip=[answered, alt.Tooltip("tokens:Q")])


def _mark_label(step: dict[str, object], x: alt.X, number: int, *, late: bool) -> alt.Chart:
    """A deployment's label, on the side of its mark with more room; neighbours stand on different lines."""
    text = alt.Chart(_values([step])).mark_text(
        align="right" if late else "left", dx=-5 if late else 5, color=RED, fontSize=12
    )
    return text.encode(x=x, y=alt.value(8 + 15 * (number % 2)), text="label:N")


def _values(rows: list[dict[str, object]]) -> alt.Data:
    return alt.Data(values=rows)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _finish(chart: alt.LayerChart, height: int) -> alt.LayerChart:
    return (
        chart.properties(width="container", height=height, background="transparent")
        .configure(font=_FONT)
        .configure_view(strokeOpacity=0)
        .configure_axis(
            labelColor=GREY,
            titleColor=GREY,
            gridColor=GREY,
            gridOpacity=0.18,
            domainColor=GREY,
            tickColor=GREY,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
        )
        .configure_legend(labelColor=GREY, labelFontSize=12)
    )
