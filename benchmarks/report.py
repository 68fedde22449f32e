"""`python -m benchmarks.report`: a table and a picture of results of `benchmarks.loop`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.record import ResultError, read
from benchmarks.tasks.picture import draw

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
_COLUMNS = (
    ("task", "---"),
    ("retrain", "--:"),
    ("ratings", "--:"),
    ("prompt tokens", "--:"),
    ("cut", "--:"),
    ("base + full", "--:"),
    ("new adapter + full / + tested rung", "--:"),
    ("active [95 %]", "--:"),
    ("PI", "--:"),
    ("first token, cold / cached", "--:"),
    ("verdict", "---"),
)
_NOTHING = "–"

Body = Mapping[str, Any]


@app.command(epilog="Example: python -m benchmarks.report benchmarks/results/televisions.json")
def main(
    results: Annotated[list[Path], typer.Argument(help="Results of benchmarks.loop.")],
    out_dir: Annotated[Path, typer.Option(help="Where loop.md and loop.png go.")] = Path(
        "benchmarks/results"
    ),
) -> None:
    """A table and a picture of one or several loops."""
    try:
        bodies = [_with_rounds(path, read(path, "loop")) for path in results]
    except ResultError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from error
    out_dir.mkdir(parents=True, exist_ok=True)
    draw(bodies, out_dir / "loop.png")
    (out_dir / "loop.md").write_text(page(bodies), encoding="utf-8")
    print(f"Written: {out_dir / 'loop.md'}, {out_dir / 'loop.png'}")


def _with_rounds(path: Path, body: dict[str, Any]) -> dict[str, Any]:
    if not body["rounds"]:
        raise ResultError(f"{path} has no round yet. Run its benchmarks.loop command again; it goes on.")
    return body


def page(bodies: Sequence[Body]) -> str:
    """The whole page as Markdown."""
    parts = ["# The loop on real tasks", "![Prompt tokens and quality after each retrain](loop.png)"]
    parts.append(bodies[0]["ratings_are"])
    parts.append(
        "“Active” is what people get after the retrain: the new pair when the gate promoted it, else what was served "
        "before. The new adapter is measured also when it was refused. PI is (active − base without a prompt) / "
        "(base + full − base without a prompt). Times are the short prompt's over the full one's, cold and cached."
    )
    parts.append(table(bodies))
    parts += [_reasons(body) for body in bodies]
    parts.append("## Where the numbers come from")
    parts.append("\n".join(_origin(body) for body in bodies))
    return "\n\n".join(parts) + "\n"


def table(bodies: Sequence[Body]) -> str:
    """A row for each task and round."""
    lines = [[name for name, _ in _COLUMNS], [rule for _, rule in _COLUMNS]]
    lines += [_row(body, record) for body in bodies for record in body["rounds"]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _row(body: Body, record: Body) -> list[str]:
    tokens, quality = record["prompt_tokens"], record["quality"]
    index = record["performance_index"]
    return [
        f"{body['task']['name']} ({body['task']['scorer']}), seed {body['settings']['seed']}",
        str(record["round"]) if record["round"] else "before",
        f"{record['ratings']:,}",
        f"{tokens['full']:,} → {tokens['active']:,}" if record["round"] else f"{tokens['full']:,}",
        f"{tokens['cut']:.0%}",
        _mean(quality.get("base_full")),
        " / ".join(_mean(quality.get(name)) for name in ("candidate_full", "candidate_rung")),
        _mean(quality.get("active"), interval=True),
        _NOTHING if index is None else f"{index:.2f}",
        _times(record.get("first_token")),
        _verdict(record.get("heard") or record.get("run")),
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


def _verdict(run: Body | None) -> str:
    if not run:
        return _NOTHING
    chosen = (run.get("gate") or {}).get("chosen_rung")
    return f"{run['status']}, rung {chosen}" if run["status"] == "promoted" else str(run["status"])


def _reasons(body: Body) -> str:
    """What the gate said, in its own words."""
    said = [
        f"- Retrain {r['round']}{', second hearing' if which == 'heard' else ''}: {r[which]['message']}"
        for r in body["rounds"]
        for which in ("run", "heard")
        if r.get(which)
    ]
    notes = {r["performance_index_note"] for r in body["rounds"] if r["performance_index_note"]}
    lines = said + [f"- PI: {note}." for note in sorted(notes)] or ["- No retrain yet."]
    return f"## {body['task']['name']}, seed {body['settings']['seed']}: the gate's reasons\n\n" + "\n".join(
        lines
    )


def _origin(body: Body) -> str:
    task, origin, settings = body["task"], body.get("provenance", {}), body["settings"]
    minutes = sum(body["seconds"].values()) / 60
    versions = ", ".join(f"{name} {version}" for name, version in origin.get("versions", {}).items())
    retrains = "1 retrain" if settings["rounds"] == 1 else f"{settings['rounds']} retrains"
    return (
        f"- **{task['name']}** ({task['source']}; {task['license']}; SHA-256 `{task['sha256'][:12]}`): "
        f"{settings['ratings']} simulated ratings for {retrains}, "
        f"{len(body['test_ids'])} test questions, seed {settings['seed']}, {minutes:.0f} minutes"
        f"{'' if body['finished'] else ', **not finished**'}. Commit `{origin.get('commit')}`, "
        f"{origin.get('machine')}; {versions}. `{origin.get('command')}`"
    )


if __name__ == "__main__":
    app()
