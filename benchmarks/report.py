"""`python -m benchmarks.report`: a table and a picture of results of `benchmarks.loop`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.record import fail

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
_TITLE = """# The loop on real tasks

![Prompt tokens and quality after each retrain](loop.png)

{ratings_are}

“Active” is what people get after the retrain: the new adapter with its variant when the gate promoted it, else what was
served before. What people could do instead with the same ratings stands beside it: the base model with the full prompt,
or with the five nearest approved answers and no other prompt, and the nearest approved answer copied without a model.
The new adapter is measured also when it was refused. PI is (active − base without a prompt)
/ (base + full − base without a prompt). Times are the short prompt's over the full one's, cold and cached."""
_COLUMNS = {
    "task": "---",
    "retrain": "--:",
    "ratings": "--:",
    "prompt tokens": "--:",
    "cut": "--:",
    "base + full": "--:",
    "base + 5 answers": "--:",
    "nearest copied": "--:",
    "new adapter alone / + 5 / + full": "--:",
    "active [95 %]": "--:",
    "PI": "--:",
    "first token, cold / cached": "--:",
    "verdict": "---",
}
_INSTEAD = (
    "base_full",
    "base_demonstrations",
    "nearest_copied",
)  # what people could do with the same ratings
_NOTHING = "–"
PAPER, INK, SOFT, GRID, TINT = "#fafbf7", "#18201d", "#6c786d", "#e2e7db", "#dcebe3"
PINE, RED = "#2b8f68", "#cf5a3d"  # what is served, and what it must not fall behind: as on the pages
_WIDTH, _HEIGHT, _DPI = 10.0, 4.9, 200  # inches; the height is that of a row of tasks
_ACROSS = 3  # tasks in a row
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

Body = Mapping[str, Any]


@app.command(epilog="Example: python -m benchmarks.report benchmarks/results/televisions-demonstrations.json")
def main(
    results: Annotated[list[Path], typer.Argument(help="Results of benchmarks.loop.")],
    out_dir: Annotated[Path, typer.Option(help="Where loop.md and loop.png go.")] = Path(
        "benchmarks/results"
    ),
) -> None:
    """A table and a picture of one or several loops."""
    bodies = [_read(path) for path in results]
    out_dir.mkdir(parents=True, exist_ok=True)
    draw(bodies, out_dir / "loop.png")
    (out_dir / "loop.md").write_text(page(bodies), encoding="utf-8")
    print(f"Written: {out_dir / 'loop.md'}, {out_dir / 'loop.png'}")


def _read(path: Path) -> Body:
    try:
        body: Body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fail(f"{path} cannot be read as a result ({error}).")
    if not body.get("rounds"):
        fail(f"{path} is not a result of `python -m benchmarks.loop` with a round in it. Give another file.")
    return body


def page(bodies: Sequence[Body]) -> str:
    """The whole page as Markdown."""
    rows = [list(_COLUMNS), list(_COLUMNS.values())]
    rows += [_row(body, measured) for body in bodies for measured in body["rounds"]]
    return "\n\n".join(
        [
            _TITLE.format(ratings_are=bodies[0]["ratings_are"]),
            "\n".join(f"| {' | '.join(cells)} |" for cells in rows),
            *(_reasons(body) for body in bodies),
            "## Where the numbers come from",
            "\n".join(_origin(body) for body in bodies) + "\n",
        ]
    )


def _row(body: Body, measured: Body) -> list[str]:
    tokens, quality = measured["prompt_tokens"], measured["quality"]
    index = measured["performance_index"]
    return [
        f"{body['task']['name']} ({body['task']['scorer']}), seed {body['settings']['seed']}",
        str(measured["round"]) if measured["round"] else "before",
        f"{measured['ratings']:,}",
        f"{tokens['full']:,.0f}" + (f" → {tokens['active']:,.0f}" if measured["round"] else ""),
        f"{tokens['cut']:.0%}",
        *(_mean(quality.get(name)) for name in _INSTEAD),
        " / ".join(
            _mean(quality.get(f"candidate_{context}")) for context in ("empty", "demonstrations", "full")
        ),
        _mean(quality.get("active"), interval=True),
        _NOTHING if index is None else f"{index:.2f}",
        _times(measured.get("first_token")),
        str((measured.get("reevaluation") or measured.get("run") or {"status": _NOTHING})["status"]),
    ]


def _mean(quality: Body | None, interval: bool = False) -> str:
    if not quality:
        return _NOTHING
    if not interval:
        return f"{quality['mean']:.3f}"
    return f"**{quality['mean']:.3f}** [{quality['low']:.3f}, {quality['high']:.3f}]"


def _times(first_token: Body | None) -> str:
    if not first_token:
        return _NOTHING
    full, short = first_token["full"], first_token["short"]
    return " / ".join(f"{short[s]['median_s'] / full[s]['median_s']:.2f} ×" for s in ("cold", "warm"))


def _reasons(body: Body) -> str:
    """The gate's own messages."""
    lines = [
        f"- Retrain {r['round']}{', re-evaluation' if which == 'reevaluation' else ''}: {r[which]['message']}"
        for r in body["rounds"]
        for which in ("run", "reevaluation")
        if r.get(which)
    ]
    lines += [
        f"- Corrected questions, asked again in other words: {again['right']} of {again['asked']} right "
        f"(retrain {r['round']})."
        for r in body["rounds"]
        if (again := r.get("corrections"))
    ]
    notes = {r["performance_index_note"] for r in body["rounds"] if r["performance_index_note"]}
    lines = lines + [f"- PI: {note}." for note in sorted(notes)] or ["- No retrain yet."]
    title = f"## {body['task']['name']}, seed {body['settings']['seed']}: the gate's reasons"
    return f"{title}\n\n" + "\n".join(lines)


def _origin(body: Body) -> str:
    task, origin, settings = body["task"], body.get("provenance", {}), body["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in origin.get("versions", {}).items())
    return (
        f"- **{task['name']}** ({task['source']}; {task['license']}; SHA-256 `{task['sha256'][:12]}`): "
        f"{settings['ratings']} simulated ratings, retrains: {settings['rounds']}, "
        f"{len(body['test_ids'])} test questions, seed {settings['seed']}, "
        f"{sum(body['seconds'].values()) / 60:.0f} minutes{'' if body['finished'] else ', **not finished**'}. "
        f"{str(origin.get('date'))[:10]}, commit `{origin.get('commit')}`, {origin.get('machine')}; {versions}. "
        f"`{origin.get('command')}`"
    )


def draw(results: Sequence[Body], path: Path) -> None:
    """Prompt tokens above and quality below for each result, one after the other; its folder is made."""
    rows = -(-len(results) // _ACROSS)
    columns = min(_ACROSS, len(results))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, rows * _HEIGHT), layout="constrained", facecolor=PAPER)
        grid = figure.subplots(2 * rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_visible(False)
        for number, body in enumerate(results):
            row, column = divmod(number, _ACROSS)
            _tokens(grid[2 * row, column], body, column == 0)
            _quality(grid[2 * row + 1, column], body, column == 0)
        handles = grid[1, 0].get_legend_handles_labels()
        legend = figure.legend(*handles, loc="outside lower center", ncols=2, frameon=False, title=_HONEST)
        legend.get_title().set_color(SOFT)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=_DPI, facecolor=PAPER)


def best_reference(quality: Mapping[str, Any]) -> dict[str, Any] | None:
    """The best of what people could do instead with the same ratings."""
    found = [q for name in _INSTEAD if (q := quality.get(name))]
    return max(found, key=lambda q: float(q["mean"]), default=None)


def _tokens(axes: Axes, body: Body, labelled: bool) -> None:
    tokens = [measured["prompt_tokens"]["active"] for measured in body["rounds"]]
    axes.fill_between(range(len(tokens)), tokens, color=TINT, linewidth=0)
    axes.plot(range(len(tokens)), tokens, color=PINE, marker="o", linewidth=2.2, clip_on=False)
    for number, value in enumerate(tokens):
        axes.annotate(f"{value:,.0f}", (number, value), (6, 8), textcoords="offset points", color=INK)
    axes.set_title(f"{body['task']['name']}, seed {body['settings']['seed']}", loc="left", color=INK)
    axes.set_ylim(0, max(tokens) * 1.22 or 1)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    _frame(axes, len(tokens), "prompt tokens per request" if labelled else "")


def _quality(axes: Axes, body: Body, labelled: bool) -> None:
    rounds = [measured["quality"] for measured in body["rounds"]]
    aside = _DODGE * max(1, len(rounds) - 1)
    references = [best_reference(quality) for quality in rounds]
    _scores(
        axes,
        references,
        aside,
        color=RED,
        marker="s",
        linestyle="--",
        label="best of what one could do instead",
    )
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


if __name__ == "__main__":
    app()
