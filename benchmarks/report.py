"""`python -m benchmarks.report`: a table and a picture of results of `benchmarks.loop`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.record import ResultError, fail, read
from benchmarks.tasks.picture import draw

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
_TITLE = """# The loop on real tasks

![Prompt tokens and quality after each retrain](loop.png)

{ratings_are}

“Active” is what people get after the retrain: the new adapter with its variant when the gate promoted it, else what was
served before. The new adapter is measured also when it was refused. PI is (active − base without a prompt)
/ (base + full − base without a prompt). Times are the short prompt's over the full one's, cold and cached."""
_COLUMNS = {
    "task": "---",
    "retrain": "--:",
    "ratings": "--:",
    "prompt tokens": "--:",
    "cut": "--:",
    "base + full": "--:",
    "new adapter + full / + tested variant": "--:",
    "active [95 %]": "--:",
    "PI": "--:",
    "first token, cold / cached": "--:",
    "verdict": "---",
}
_NOTHING = "–"

Body = Mapping[str, Any]


@app.command(epilog="Example: python -m benchmarks.report benchmarks/results/televisions-1.json")
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
        fail(str(error))
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
        f"{tokens['full']:,} → {tokens['active']:,}" if measured["round"] else f"{tokens['full']:,}",
        f"{tokens['cut']:.0%}",
        _mean(quality.get("base_full")),
        " / ".join(_mean(quality.get(name)) for name in ("candidate_full", "candidate_variant")),
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


if __name__ == "__main__":
    app()
