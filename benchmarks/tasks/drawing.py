"""The look of all pictures of results: colours of the pages, one style, one kind of sheet.

In: a path and a size. Out: a figure to draw on, saved as a PNG at twice its width on a page. Place in the flow: under
`picture` and `forest`. Does not know what is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PAPER, INK, SOFT, GRID, TINT = "#fafbf7", "#18201d", "#6c786d", "#e2e7db", "#dcebe3"
PINE, RED = "#2b8f68", "#cf5a3d"  # what is served, and what it must not fall behind: as on the pages
WIDTH = 10.0  # inches
_DPI = 200


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
