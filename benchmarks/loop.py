"""`python -m benchmarks.loop`: the whole loop on a real task, where only the person is simulated.

In: a task file and a budget of ratings. Out: a JSON result with every round's tokens, quality and verdict. Starts the
app itself (`AppProcess`), so chat, training, gate and swap are what a person gets. Does not know how a round goes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.records.command import command_line, fail, resumable
from benchmarks.records.provenance import provenance
from benchmarks.records.result_file import ResultError
from benchmarks.records.screen import Screen
from benchmarks.servers.app_process import AppProcess
from benchmarks.tasks.result import LoopSettings, Result
from benchmarks.tasks.retrain import hear, retrain
from benchmarks.tasks.schedule import sample_of
from benchmarks.tasks.serving import Serving
from benchmarks.tasks.task import Task, TaskError, load
from benchmarks.tasks.walk import Walk
from store import Store

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
_MODULE = "benchmarks.loop"


@app.command(
    epilog="Example: python -m benchmarks.loop --task shared/tasks/televisions.json --ratings 300 --rounds 3 "
    "--test 100 --out benchmarks/results/televisions.json"
)
def main(
    task: Annotated[Path, typer.Option(help="A task file; a database it names lies beside it.")],
    out: Annotated[Path, typer.Option(help="The result; written after every step.")],
    ratings: Annotated[
        int, typer.Option(min=1, help="Answers that the simulated person rates, in all.")
    ] = 300,
    rounds: Annotated[
        int, typer.Option(min=1, help="Retrains; the ratings are spread evenly before them.")
    ] = 3,
    test: Annotated[
        int, typer.Option(min=2, help="Test questions that measure quality after each round.")
    ] = 100,
    seed: Annotated[int, typer.Option(help="Chooses questions, their order and what is corrected.")] = 0,
    corrects: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the bad answers that are corrected.")
    ] = 0.75,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="The app's data; default: OUT with the ending .data.", show_default=False),
    ] = None,
    model: Annotated[str | None, typer.Option(help="As for app.py; default: the embedded model.")] = None,
    vllm_url: Annotated[
        list[str] | None, typer.Option(help="A running vLLM to use, as for app.py; may be repeated.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, hidden=True, help="As for trainer once.")] = None,
) -> None:
    """Ask, rate, retrain and measure on a real task. Only the ratings are simulated.

    The same command goes on where an interrupted one stopped.
    """
    settings = LoopSettings(ratings, rounds, test, seed, corrects, epochs, model)
    screen = Screen()
    try:
        loaded = load(task)
        result = Result.open(out, loaded, settings, sample_of(loaded.test, test, seed))
    except (TaskError, ResultError, OSError) as error:
        fail(str(error))
    if result.body["finished"]:
        screen.say(f"Finished already: {out}. For another loop give another --out.")
        return
    result.add_origin(provenance(command_line(_MODULE), seed))
    directory = (data_dir or out.with_suffix(".data")).resolve()
    options = ["--no-trainer", *_model_option(model)]
    options += [word for url in vllm_url or () for word in ("--vllm-url", url)]
    with resumable(_MODULE):
        _serve_and_walk(directory, options, loaded, settings, result, screen)
    screen.say(f"Written to {out}. A table and a picture: python -m benchmarks.report {out}")


def _serve_and_walk(
    directory: Path, options: list[str], task: Task, settings: LoopSettings, result: Result, screen: Screen
) -> None:
    more = [] if settings.epochs is None else ["--epochs", str(settings.epochs)]
    with AppProcess(directory, *options) as running:
        with result.timed("start"), screen.status("Starting the app and its model server"):
            running.wait_for_page()
            running.wait_for_model()
        screen.say(f"To watch it: {running.url}")
        with Store(directory / "shorthand.sqlite") as store:
            Walk(
                task,
                settings,
                result,
                Serving(directory, store),
                lambda assistant, trigger, note: retrain(store, directory, assistant, trigger, more, note),
                lambda assistant, note: hear(store, directory, assistant, note),
                screen,
            ).run()


def _model_option(model: str | None) -> list[str]:
    """The app runs in the project's root, so a relative path must not stay one."""
    if model is None:
        return []
    path = Path(model)
    return ["--model", str(path.resolve()) if path.is_dir() else model]


if __name__ == "__main__":
    app()
