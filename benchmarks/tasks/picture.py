"""The picture of loops: how short the prompt became, and what that did to the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Body = Mapping[str, Any]

PAPER, INK, SOFT, GRID, TINT = "#fafbf7", "#18201d", "#6c786d", "#e2e7db", "#dcebe3"
PINE, RED = "#2b8f68", "#cf5a3d"  # what is served, and what it must not fall behind: as on the pages
_WIDTH, _HEIGHT, _DPI = 10.0, 4.9, 200  # inches; the height is that of a row of tasks
_COLUMNS = 3
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
    "font.sans-serif": ["DejaVu Sans"],  # it comes with matplotlib: the picture is the same on every machine
    "font.size": 9,
    "axes.titlesize": 11,
    "axes.facecolor": PAPER,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "lines.markeredgecolor": PAPER,
}


def draw(results: Sequence[Body], path: Path) -> None:
    """Prompt tokens above and quality below for each result, one after the other; its folder is made."""
    rows = -(-len(results) // _COLUMNS)
    columns = min(_COLUMNS, len(results))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, rows * _HEIGHT), layout="constrained", facecolor=PAPER)
        grid = figure.subplots(2 * rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_visible(False)
        for number, body in enumerate(results):
            row, column = divmod(number, _COLUMNS)
            _tokens(grid[2 * row, column], body, column == 0)
            _quality(grid[2 * row + 1, column], body, column == 0)
        handles = grid[1, 0].get_legend_handles_labels()
        legend = figure.legend(*handles, loc="outside lower center", ncols=2, frameon=False, title=_HONEST)
        legend.get_title().set_color(SOFT)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=_DPI, facecolor=PAPER)


def best_reference(quality: Mapping[str, Any]) -> dict[str, Any] | None:
    """The better of the two with the full prompt: the base model, and the round's new adapter."""
    found = [q for q in (quality.get("base_full"), quality.get("candidate_full")) if q]
    return max(found, key=lambda q: float(q["mean"]), default=None)


def _tokens(axes: Axes, body: Body, labelled: bool) -> None:
    tokens = [measured["prompt_tokens"]["active"] for measured in body["rounds"]]
    axes.fill_between(range(len(tokens)), tokens, color=TINT, linewidth=0)
    axes.plot(range(len(tokens)), tokens, color=PINE, marker="o", linewidth=2.2, clip_on=False)
    for number, value in enumerate(tokens):
        axes.annotate(f"{value:,}", (number, value), (6, 8), textcoords="offset points", color=INK)
    axes.set_title(f"{body['task']['name']}, seed {body['settings']['seed']}", loc="left", color=INK)
    axes.set_ylim(0, max(tokens) * 1.22 or 1)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    _frame(axes, len(tokens), "prompt tokens per request" if labelled else "")


def _quality(axes: Axes, body: Body, labelled: bool) -> None:
    rounds = [measured["quality"] for measured in body["rounds"]]
    aside = _DODGE * max(1, len(rounds) - 1)
    references = [best_reference(quality) for quality in rounds]
    _scores(axes, references, aside, color=RED, marker="s", linestyle="--", label="best with the full prompt")
    served = [quality.get("active") for quality in rounds]
    _scores(axes, served, -aside, color=PINE, marker="o", label="what people get, 95 % interval")
    axes.set_ylim(0, 1.02)
    scorer = _SCORERS.get(body["task"]["scorer"], body["task"]["scorer"])
    axes.set_title(scorer, loc="left", fontsize=9, color=SOFT)
    _frame(axes, len(rounds), "quality on held-back questions" if labelled else "")
    axes.set_xlabel("retrains")


def _scores(axes: Axes, scores: Sequence[Mapping[str, Any] | None], shift: float, **style: Any) -> None:
    shown = [(number + shift, score) for number, score in enumerate(scores) if score]
    below = [score["mean"] - score["low"] for _, score in shown]
    above = [score["high"] - score["mean"] for _, score in shown]
    means = [score["mean"] for _, score in shown]
    axes.errorbar([x for x, _ in shown], means, yerr=[below, above], capsize=3, clip_on=False, **style)


def _frame(axes: Axes, rounds: int, label: str) -> None:
    axes.set_visible(True)
    axes.set_xlim(-0.3, max(1, rounds - 1) + 0.3)
    axes.set_xticks(range(rounds), ["before", *map(str, range(1, rounds))])
    axes.set_ylabel(label)
    axes.grid(axis="y", color=GRID, linewidth=1)
    axes.tick_params(length=0, pad=6)
