"""The picture of loops: how short the prompt became, and what that did to the answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

PAPER, INK, SOFT, GRID, TINT = "#fafbf7", "#18201d", "#6c786d", "#e2e7db", "#dcebe3"
PINE, RED = "#2b8f68", "#cf5a3d"  # what is served, and what it must not fall behind: as on the pages
WIDTH = 10.0  # inches
_DPI = 200
_BAND_HEIGHT = 4.9
_COLUMNS = 4  # tasks side by side; more of them go below
_DODGE = 0.03  # of a task's width, to each side of a retrain, for its two marks

_HONEST = "Simulated ratings; server, training, gate, swap and measurements are real."
_SCORERS = {
    "exact": "share of exact answers",
    "sql": "share of queries with the right rows",
    "json": "share of equal JSON",
    "chrf": "chrF",
    "bleu": "BLEU",
}
_STYLE: Any = {  # matplotlib types the keys as literals
    "font.family": "sans-serif",
    # DejaVu comes with matplotlib: the picture is the same on every machine.
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.titlepad": 14,
    "axes.facecolor": PAPER,
    "axes.labelcolor": SOFT,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "lines.linewidth": 2.2,
    "lines.markersize": 6.5,
    "lines.markeredgecolor": PAPER,
    "lines.markeredgewidth": 1.2,
    "lines.solid_capstyle": "round",
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.wspace": 0.04,
}

Body = Mapping[str, Any]


def draw(results: Sequence[Body], path: Path) -> None:
    """A column a task: prompt tokens above, quality below, retrain by retrain; further seeds go below."""
    places = _places([body["task"]["name"] for body in results])
    bands, columns = (1 + max(place[axis] for place in places) for axis in (0, 1))
    with sheet(path, WIDTH, bands * _BAND_HEIGHT) as figure:
        grid = figure.subplots(2 * bands, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_visible(False)
        for body, (band, column) in zip(results, places, strict=True):
            _tokens(grid[2 * band, column], body, labelled=column == 0)
            _quality(grid[2 * band + 1, column], body, labelled=column == 0, columns=columns)
        figure.align_ylabels()
        legend = figure.legend(
            handles=_legend(),
            loc="outside lower center",
            ncols=3,
            frameon=False,
            labelcolor=INK,
            title=_HONEST,
        )
        legend.get_title().set_color(SOFT)


def _places(tasks: Sequence[str]) -> list[tuple[int, int]]:
    """(band, column) of each result: a column a task where they fit side by side, else one after the other."""
    names = list(dict.fromkeys(tasks))
    if len(names) > _COLUMNS:
        return [divmod(number, _COLUMNS) for number in range(len(tasks))]
    return [(tasks[:number].count(task), names.index(task)) for number, task in enumerate(tasks)]


def best_reference(quality: Mapping[str, Any]) -> dict[str, Any] | None:
    """The better of the two with the full prompt: the base model, and the round's new adapter."""
    found = [q for q in (quality.get("base_full"), quality.get("candidate_full")) if q]
    return max(found, key=lambda q: float(q["mean"]), default=None)


def _tokens(axes: Axes, body: Body, labelled: bool) -> None:
    tokens = [record["prompt_tokens"]["active"] for record in body["rounds"]]
    top = max(tokens) * 1.22 or 1
    axes.fill_between(range(len(tokens)), tokens, color=TINT, linewidth=0)
    axes.plot(range(len(tokens)), tokens, color=PINE, marker="o", clip_on=False, zorder=3)
    for number, value in enumerate(tokens):
        axes.annotate(
            f"{value:,}",
            (number, value),
            xytext=(0 if number == 0 else 6, 8),  # away from the line, which comes from the left
            textcoords="offset points",
            ha="center",
            color=INK,
            weight="bold" if number == len(tokens) - 1 else "normal",
        )
    axes.set_title(body["task"]["name"], loc="left")
    axes.set_title(f"seed {body['settings']['seed']}", loc="right", fontsize=9, weight="normal", color=SOFT)
    axes.set_ylim(0, top)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    _frame(axes, len(tokens), "prompt tokens per request" if labelled else "")
    axes.tick_params(labelbottom=False)


def _quality(axes: Axes, body: Body, labelled: bool, columns: int) -> None:
    rounds = [record["quality"] for record in body["rounds"]]
    aside = _DODGE * max(1, len(rounds) - 1) * columns / 3
    _scores(axes, [best_reference(quality) for quality in rounds], RED, "s", aside, "--")
    _scores(axes, [quality.get("active") for quality in rounds], PINE, "o", -aside, "-")
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    scorer = _SCORERS.get(body["task"]["scorer"], body["task"]["scorer"])
    axes.set_title(scorer, loc="left", fontsize=9, weight="normal", color=SOFT, pad=8)
    _frame(axes, len(rounds), "quality on held-back questions" if labelled else "")
    axes.set_xlabel("retrains")


def _scores(
    axes: Axes, scores: Sequence[Mapping[str, Any] | None], colour: str, mark: str, shift: float, line: str
) -> None:
    shown = [(number + shift, score) for number, score in enumerate(scores) if score]
    axes.errorbar(
        [x for x, _ in shown],
        [score["mean"] for _, score in shown],
        yerr=[
            [score["mean"] - score["low"] for _, score in shown],
            [score["high"] - score["mean"] for _, score in shown],
        ],
        color=colour,
        marker=mark,
        linestyle=line,
        linewidth=2.2 if line == "-" else 1.3,
        elinewidth=1.3,
        capsize=3,
        clip_on=False,
        zorder=3,
    )


def _frame(axes: Axes, rounds: int, label: str) -> None:
    axes.set_visible(True)
    axes.set_xlim(-0.3, max(1, rounds - 1) + 0.3)
    axes.set_xticks(range(rounds), ["before", *map(str, range(1, rounds))])
    axes.set_ylabel(label)
    axes.grid(axis="y", color=GRID, linewidth=1)
    bare(axes)


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], color=PINE, marker="o", label="what people get"),
        Line2D(
            [],
            [],
            color=RED,
            marker="s",
            ls="--",
            lw=1.3,
            label="best with the full prompt",
        ),
        Line2D([], [], color=SOFT, marker="|", ls="", ms=13, mew=1.6, mec=SOFT, label="95 % interval"),
    ]


@contextmanager
def sheet(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure of so many inches, written to `path` at the end; its folder is made."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=_DPI, facecolor=PAPER)


def bare(axes: Axes) -> None:
    """No ticks, and of the frame the lower side alone."""
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
