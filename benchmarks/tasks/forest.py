"""Effects of variants to one picture: what each changes in the answers, task beside task, with its interval.

In: effects by task. Out: a PNG at twice the width of a README. Place in the flow: under `ablation_report`. Does not
know how anything was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchmarks.tasks.drawing import GRID, INK, PINE, RED, SOFT, WIDTH, bare, sheet
from benchmarks.tasks.effects import DEFAULTS, Effect, in_order

_ROW_HEIGHT, _ROOM = 0.3, 1.5  # inches


def draw(found: Mapping[str, Sequence[Effect]], path: Path) -> None:
    """A column for each task, titled by its key; a row for each variant that any of them has."""
    rows = in_order(e.variant for effects in found.values() for e in effects if e.variant != DEFAULTS)
    with sheet(path, WIDTH, _ROOM + _ROW_HEIGHT * len(rows)) as figure:
        columns = figure.subplots(1, len(found), sharey=True, sharex=True, squeeze=False)[0]
        for axes, (title, effects) in zip(columns, found.items(), strict=True):
            _column(axes, title, effects, rows)
        columns[0].set_yticks(range(len(rows)), rows)
        columns[0].tick_params(axis="y", labelcolor=INK)
        columns[0].invert_yaxis()
        figure.supxlabel(
            "points more or fewer than the defaults, without a prompt, with 95 % intervals",
            color=SOFT,
            fontsize=9,
        )


def _column(axes: Axes, title: str, effects: Sequence[Effect], rows: Sequence[str]) -> None:
    for effect in effects:
        if effect.less is None:
            continue
        mean, low, high = (100 * value for value in effect.less)
        colour = SOFT if not effect.is_clear else PINE if mean > 0 else RED
        axes.errorbar(
            [mean],
            [rows.index(effect.variant)],
            xerr=[[mean - low], [high - mean]],
            color=colour,
            marker="o",
            elinewidth=1.6,
            capsize=3,
            zorder=3,
        )
    [defaults] = [effect for effect in effects if effect.variant == DEFAULTS]
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_title(title, loc="left")
    axes.set_title(f"defaults {defaults.quality:.2f}", loc="right", fontsize=9, weight="normal", color=SOFT)
    axes.grid(axis="x", color=GRID, linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+.0f}" if value else "0"))
    bare(axes)
