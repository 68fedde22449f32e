"""`python -m benchmarks.ablation`: what each choice of the trainer brings, on one task and the same ratings.

In: a task file and a budget of ratings. Out: a JSON result with the quality of every variant at both ends of the
ladder, and a table beside it. The ratings are simulated as in `loop` and asked for once; every variant trains on them
with the trainer's own modules, and vLLM answers the test questions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.records import result_file
from benchmarks.records.command import command_line, fail, resumable
from benchmarks.records.provenance import provenance
from benchmarks.records.result_file import ResultError
from benchmarks.records.screen import Screen
from benchmarks.servers.app_process import AppProcess
from benchmarks.tasks.asking import Asking
from benchmarks.tasks.person import Person, threshold_of
from benchmarks.tasks.schedule import rounds_of, sample_of
from benchmarks.tasks.serving import Serving
from benchmarks.tasks.task import Task, TaskError, load
from benchmarks.tasks.trial import Trial
from benchmarks.tasks.variants import VARIANTS
from store import Store
from trainer.proof.scorers import scorer
from trainer.settings import TrainerSettings

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
_MODULE = "benchmarks.ablation"
_BASE = "base model"

Body = dict[str, Any]


@app.command(
    epilog="Example: python -m benchmarks.ablation --task shared/tasks/banking77.json --ratings 300 --test 150 "
    "--out benchmarks/results/ablation-banking77.json"
)
def main(
    task: Annotated[Path, typer.Option(help="A task file; a database it names lies beside it.")],
    out: Annotated[Path, typer.Option(help="The result; written after every variant.")],
    ratings: Annotated[int, typer.Option(min=60, help="Answers that the simulated person rates.")] = 300,
    test: Annotated[int, typer.Option(min=2, help="Test questions that measure each variant.")] = 150,
    seed: Annotated[
        int, typer.Option(help="Chooses questions and what is corrected; also of the training.")
    ] = 0,
    corrects: Annotated[float, typer.Option(min=0, max=1, help="Share of the bad answers corrected.")] = 0.75,
    only: Annotated[
        list[str] | None, typer.Option(help="This variant; may be repeated. Default: all.")
    ] = None,
) -> None:
    """Train the same ratings in different ways. The same command goes on where an interrupted one stopped.

    Further variants may be named with another --only and the same --out.
    """
    unknown = set(only or ()) - set(VARIANTS)
    if unknown:
        fail(f"There is no variant {sorted(unknown)[0]!r}. Choose from: {', '.join(VARIANTS)}.")
    try:
        loaded = load(task)
        body = result_file.read_or_start(out, _start(loaded, ratings, test, seed, corrects))
    except (TaskError, ResultError, OSError) as error:
        fail(str(error))
    directory = out.with_suffix(".data").resolve()
    screen = Screen()
    with (
        resumable(_MODULE),
        AppProcess(directory, "--no-trainer") as running,
        Store(directory / "shorthand.sqlite") as store,
        asyncio.Runner() as runner,
    ):
        running.wait_for_page()
        running.wait_for_model()
        serving = Serving(directory, store)
        body["asked"] = runner.run(_ask(loaded, serving, body["settings"], screen))
        trial = Trial(loaded, sample_of(loaded.test, test, seed), serving, screen, seed)
        for name in (_BASE, *(only or VARIANTS)):
            if name not in body["variants"]:
                body["variants"][name] = (
                    trial.of_base(runner) if name == _BASE else trial.of(runner, name, VARIANTS[name])
                )
                result_file.write(out, body)
                out.with_suffix(".md").write_text(table(body), encoding="utf-8")
            screen.say(_row(name, body["variants"][name]))
    screen.say(f"Written to {out} and {out.with_suffix('.md')}.")


async def _ask(task: Task, serving: Serving, settings: Body, screen: Screen) -> Body:
    """The ratings; what an earlier start asked is not asked again."""
    serving.create_assistant(task, task.id)
    person = Person(scorer(task.scorer), threshold_of(task.scorer), settings["corrects"], settings["seed"])
    questions = rounds_of(task.train, settings["ratings"], 1, settings["seed"], task.id)[0]
    async with serving.pool(task.id) as pool:
        asking = Asking(serving.store, pool, serving.chat(pool), task.id, person)
        with screen.bar("Asking and rating") as progress:
            return asdict(await asking.ask(questions, progress))


def _start(task: Task, ratings: int, test: int, seed: int, corrects: float) -> Body:
    return {
        "benchmark": "ablation",
        "task": result_file.task_record(task),
        "settings": {"ratings": ratings, "test": test, "seed": seed, "corrects": corrects},
        "defaults": TrainerSettings(seed=seed).as_record(),
        "provenance": provenance(command_line(_MODULE), seed),
        "variants": {},
    }


def table(body: Body) -> str:
    """A row for each variant, as Markdown: mean scores with their 95 % intervals."""
    lines = [
        "| variant | question | shortest prompt | full prompt | shortest - full | training |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_row(name, found) for name, found in body["variants"].items()]) + "\n"


def _row(name: str, found: Body) -> str:
    if "diverged" in found:
        return f"| {name} | {found['question']} | diverged | diverged | | |"
    ends = [_interval(found["quality"][end]) for end in ("shortest", "full")]
    less = found["shortest_less_full"]
    cells = [name, found.get("question", ""), *ends, f"{less['mean']:+.3f}" if less else "–", cost(found)]
    return f"| {' | '.join(cells)} |"


def cost(found: Mapping[str, Any]) -> str:
    """What a variant was trained on, and for how long; `found` is its record."""
    if "examples" not in found:
        return "none"
    timed_from = f" (timed from step {found['resumed_at']} on)" if found.get("resumed_at") else ""
    return (
        f"{found['examples']} examples, {found['row_tokens']:,} tokens, {found['seconds']:.0f} s{timed_from}, at most "
        f"{found['peak_memory_mib'] / 1024:.1f} GiB, best of epoch {found['best_epoch']}"
    )


def _interval(quality: Body | None) -> str:
    return f"{quality['mean']:.3f} ({quality['low']:.3f}-{quality['high']:.3f})" if quality else "–"


if __name__ == "__main__":
    app()
