"""`python -m benchmarks.loop`: the whole loop on a real task, where only the ratings are simulated.

It starts the app itself, so that chat, training, gate and swap are what a person gets.
"""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from assistant.adapter_files import BadAdapter
from assistant.serving import NoServer
from assistant.tokenizer import TokenizerError
from assistant.vllm_client import VllmError
from benchmarks.processes import AppFailed, AppProcess, RetrainFailed, run_trainer
from benchmarks.record import Screen, fail, provenance
from benchmarks.serving import Serving
from benchmarks.tasks.rounds import LoopSettings, Rounds
from benchmarks.tasks.task import TaskError, load
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
    traffic: Annotated[
        int, typer.Option(min=0, help="Questions for each rating that are asked in between and not rated.")
    ] = 5,
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
    """Ask, rate, retrain and measure on a real task. Only the ratings are simulated."""
    settings, screen = LoopSettings(ratings, rounds, test, seed, corrects, traffic, epochs, model), Screen()
    try:
        loop = Rounds(load(task), settings, out, provenance("loop", seed), screen)
    except (TaskError, OSError) as error:
        fail(str(error))
    directory = (data_dir or out.with_suffix(".data")).resolve()
    options = ["--no-trainer"]
    if model is not None:  # the app runs in the project's root, so a relative path must not stay one
        options += ["--model", str(Path(model).resolve()) if Path(model).is_dir() else model]
    options += [word for url in vllm_url or () for word in ("--vllm-url", url)]
    try:
        with AppProcess(directory, *options) as running:
            with loop.timed("start"), screen.status("Starting the app and its model server"):
                running.wait_for_page()
                running.wait_for_model()
            screen.say(f"To watch it: {running.url}")
            with Store(directory / "shorthand.sqlite") as store:
                loop.run(Serving(directory, store), partial(run_trainer, store, directory))
    except _EXPECTED as error:
        fail(str(error), 1)
    screen.say(f"Written to {out}. A table and a picture: python -m benchmarks.report {out}")


if __name__ == "__main__":
    app()
