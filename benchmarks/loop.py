"""`python -m benchmarks.loop`: the whole loop on a real task, where only the ratings are simulated.

It starts the app itself, so that chat, training, gate and swap are what a person gets.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from assistant.adapter_files import BadAdapter
from assistant.serving import NoServer
from assistant.tokenizer import TokenizerError
from assistant.vllm_client import VllmError
from benchmarks.processes import AppFailed, AppProcess
from benchmarks.record import ResultError, fail, provenance
from benchmarks.screen import Screen
from benchmarks.tasks.result import LoopSettings, Result
from benchmarks.tasks.retrain import RetrainFailed, reevaluate, retrain
from benchmarks.tasks.rounds import Rounds
from benchmarks.tasks.serving import Serving
from benchmarks.tasks.task import Task, TaskError, load
from benchmarks.tasks.user import sample_of
from store import Store, StoreError
from trainer.evaluation.scorers import ScorerFailed

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
_EXPECTED = (
    AppFailed,
    BadAdapter,
    NoServer,
    TokenizerError,
    VllmError,
    StoreError,
    ScorerFailed,
    RetrainFailed,
)


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
    result.add_origin(provenance("loop", seed))
    directory = (data_dir or out.with_suffix(".data")).resolve()
    options = ["--no-trainer", *_model_option(model)]
    options += [word for url in vllm_url or () for word in ("--vllm-url", url)]
    with _resumable():
        _serve_and_run(directory, options, loaded, settings, result, screen)
    screen.say(f"Written to {out}. A table and a picture: python -m benchmarks.report {out}")


def _serve_and_run(
    directory: Path, options: list[str], task: Task, settings: LoopSettings, result: Result, screen: Screen
) -> None:
    more = [] if settings.epochs is None else ["--epochs", str(settings.epochs)]
    with AppProcess(directory, *options) as running:
        with result.timed("start"), screen.status("Starting the app and its model server"):
            running.wait_for_page()
            running.wait_for_model()
        screen.say(f"To watch it: {running.url}")
        with Store(directory / "shorthand.sqlite") as store:
            Rounds(
                task,
                settings,
                result,
                Serving(directory, store),
                lambda assistant, trigger, show: retrain(store, directory, assistant, trigger, more, show),
                lambda assistant, show: reevaluate(store, directory, assistant, show),
                screen,
            ).run()


@contextmanager
def _resumable() -> Iterator[None]:
    """End politely: the app is stopped, and what is done so far is in the result."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it otherwise
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    again = shlex.join(["python", "-m", "benchmarks.loop", *sys.argv[1:]])
    try:
        yield
    except KeyboardInterrupt:
        fail(f"Stopped. The same command goes on from here: {again}", 130)
    except _EXPECTED as error:
        fail(f"{error}\nThe same command goes on from here.", 1)


def _model_option(model: str | None) -> list[str]:
    """The app runs in the project's root, so a relative path must not stay one."""
    if model is None:
        return []
    path = Path(model)
    return ["--model", str(path.resolve()) if path.is_dir() else model]


if __name__ == "__main__":
    app()
