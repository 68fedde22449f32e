"""`python -m benchmarks.ablation_report`: ablations of several tasks side by side, as a table and a picture.

In: result files of `benchmarks.ablation`. Out: `ablation.md` and `ablation.png`. Does not measure anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.ablation import cost
from benchmarks.records.command import fail
from benchmarks.records.result_file import ResultError, read
from benchmarks.tasks.effects import BASE, DEFAULTS, Effect, effects, in_order
from benchmarks.tasks.forest import draw

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
_MODULE = "benchmarks.ablation_report"
_NOTHING = "–"
_HOW = (
    "The same simulated ratings trained in different ways; vLLM answers the test questions without a prompt. "
    "Differences are paired, question by question, in points with their 95 % interval; **bold** where that has no "
    "zero in it. There is no gate: all are measured. Seconds are those of training, on machines that differ in speed "
    "from day to day, some beside other work."
)

Body = Mapping[str, Any]


@app.command(epilog=f"Example: python -m {_MODULE} benchmarks/results/ablation-banking77.json")
def main(
    results: Annotated[list[Path], typer.Argument(help="Results of benchmarks.ablation, a task each.")],
    out_dir: Annotated[Path, typer.Option(help="Where ablation.md and ablation.png go.")] = Path(
        "benchmarks/results"
    ),
) -> None:
    """What each choice of the trainer brings, task beside task."""
    try:
        bodies = {headline(body): body for body in (_with_defaults(path) for path in results)}
    except ResultError as error:
        fail(str(error))
    out_dir.mkdir(parents=True, exist_ok=True)
    draw({title: effects(body) for title, body in bodies.items()}, out_dir / "ablation.png")
    (out_dir / "ablation.md").write_text(page(bodies), encoding="utf-8")
    print(f"Written: {out_dir / 'ablation.md'}, {out_dir / 'ablation.png'}")


def _with_defaults(path: Path) -> Body:
    body = read(path, "ablation")
    if DEFAULTS not in body["variants"]:
        raise ResultError(
            f"{path} has no defaults yet, which everything else is compared with. Run them first."
        )
    return body


def headline(body: Body) -> str:
    """The task and how many ratings it had."""
    return f"{body['task']['name']}, {body['settings']['ratings']} ratings"


def page(bodies: Mapping[str, Body]) -> str:
    """The whole page as Markdown; `bodies` by title."""
    parts = [
        "# What each choice of the trainer brings",
        "![The difference of each variant to the defaults, on each task](ablation.png)",
        _HOW,
        _table(bodies),
        "## Where the numbers come from",
        "\n".join(_origin(title, body) for title, body in bodies.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _table(bodies: Mapping[str, Body]) -> str:
    found = {title: {effect.variant: effect for effect in effects(body)} for title, body in bodies.items()}
    names = in_order(name for body in bodies.values() for name in body["variants"] if name != BASE)
    head = [
        "variant",
        "question",
        *(f"{title}: {what}" for title in bodies for what in ("quality", "training")),
    ]
    lines = [head, ["---"] * len(head), ["base model, full prompt", "", *_base(bodies)]]
    for name in names:
        question = next(b["variants"][name]["question"] for b in bodies.values() if name in b["variants"])
        cells = [name, question]
        for title, body in bodies.items():
            trained = body["variants"].get(name)
            cells += [_quality(found[title].get(name), trained), cost(trained) if trained else _NOTHING]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _base(bodies: Mapping[str, Body]) -> list[str]:
    cells = []
    for body in bodies.values():
        full = body["variants"].get(BASE, {}).get("quality", {}).get("full")
        cells += [f"{full['mean']:.2f}" if full else _NOTHING, "none"]
    return cells


def _quality(effect: Effect | None, trained: Body | None) -> str:
    if effect is None:
        return "diverged" if trained and "diverged" in trained else _NOTHING
    if effect.less is None:
        return f"{effect.quality:.2f}"
    mean, low, high = (100 * value for value in effect.less)
    mark = "**" if effect.is_clear else ""
    return f"{effect.quality:.2f}, {mark}{mean:+.0f}{mark} ({low:+.0f} to {high:+.0f})"


def _origin(title: str, body: Body) -> str:
    task, origin, settings = body["task"], body["provenance"], body["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in origin["versions"].items())
    note = f" {body['edited_by_hand']}" if "edited_by_hand" in body else ""
    return (
        f"- **{title}** ({task['source']}; {task['license']}; SHA-256 `{task['sha256'][:12]}`): {settings['test']} "
        f"test questions, seed {settings['seed']}. Commit `{origin['commit']}`, {origin['machine']}; {versions}. "
        f"`{origin['command']}`{note}"
    )


if __name__ == "__main__":
    app()
