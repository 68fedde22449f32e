"""The trainer: retrains, evaluates again, watches, reports, explains, rolls back, erases and redacts.

Exit status 0 when the command did its work (a refused candidate and “not enough yet” are results), 1 when a run failed
or a rerun differs, 2 for wrong usage, 130 when it was interrupted.
"""

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.status import Status

from store import Store, tracebacks
from store.garbage import collect_rarely
from store.records import RunStatus, TrainingRun
from trainer import erasure, inspection, report
from trainer.command_line import (
    Assistant,
    Commands,
    DataDir,
    Set,
    console,
    fail,
    open_assistant,
    open_store,
    settings_from,
)
from trainer.context import TrainingContext
from trainer.deployment.swap import roll_back
from trainer.examples.demonstrations import DemonstrationUpdater
from trainer.redaction import commands as privacy
from trainer.training import distributed
from trainer.watch import Watch

app = typer.Typer(
    cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, help=__doc__
)


@app.command(epilog="Example: python -m trainer once --data-dir data --set epochs=3 --set learning_rate=5e-4")
def once(
    data_dir: DataDir = Path("data"),
    assistant: Assistant = "",
    trigger: Annotated[str, typer.Option(help="Why this run was started, for the record.")] = "command line",
    epochs: Annotated[int | None, typer.Option(min=1, help="The same as --set epochs=N.")] = None,
    changed: Set = None,
) -> None:
    """Retrain now, on what is approved so far. The app must be running: it owns the model server.

    A run that was interrupted goes on from its last checkpoint when examples, prompt and settings are still the
    same. On several GPUs: accelerate launch --num-processes 2 -m trainer once.
    """
    if distributed.rank() > 0:
        from trainer.training.finetune import run_worker

        run_worker()
        return
    settings = settings_from([*(changed or ()), *([f"epochs={epochs}"] if epochs else ())])
    store, name = open_assistant(data_dir, assistant)
    from trainer.run import run_once  # imports torch, which takes seconds that --help should not cost

    with _working("Training; the page Training shows every step ...", lambda: _newest_run(store, name)):
        run = run_once(TrainingContext.open(store, data_dir, settings), name, trigger)
    _print_result(run)
    distributed.shut_down()


@app.command(epilog="Example: python -m trainer reevaluate --data-dir data")
def reevaluate(data_dir: DataDir = Path("data"), assistant: Assistant = "", changed: Set = None) -> None:
    """Evaluate a refused candidate again, once people have decided about its answers on the Review page; or, after an
    edit of the prompt, what was served before it, with the changed segments added.

    Nothing is trained. `watch` does this by itself.
    """
    store, name = open_assistant(data_dir, assistant)
    from trainer import run as runs

    with _working("Scoring its answers again ...", lambda: _newest_run(store, name)):
        run = runs.reevaluate(TrainingContext.open(store, data_dir, settings_from(changed)), name)
    if run is None:
        fail(
            f"Nothing of {name!r} waits for a re-evaluation. A candidate does when it was refused for its scores alone,"
            " the Review page has a decision about every answer that it asked about, one of them was accepted, and "
            "prompt and deployment are still the same; and what was served before the prompt was edited, once."
        )
    _print_result(run)


@app.command(epilog="Example: python -m trainer watch --data-dir data --every 300 --set retrain_after=50")
def watch(
    data_dir: DataDir = Path("data"),
    every: Annotated[float, typer.Option(min=1, help="Seconds between two checks for new examples.")] = 300.0,
    retrain: Annotated[
        bool,
        typer.Option(help="--no-retrain only keeps up to date which approved answers can be sent along."),
    ] = True,
    changed: Set = None,
) -> None:
    """Retrain by itself: on request from the page, and when enough new approved examples have come in."""
    collect_rarely()
    tracebacks.log_to(sys.stdout, logging.INFO)
    settings = settings_from(changed)
    store = open_store(data_dir, create=True)
    if not retrain:
        stopped = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopped.set())
        return DemonstrationUpdater(store, settings).run(stopped)
    options = [word for text in changed or () for word in ("--set", text)]
    watcher = Watch(store, data_dir, settings, options, every)
    signal.signal(signal.SIGTERM, lambda *_: watcher.stop())
    try:
        watcher.run()
    except KeyboardInterrupt:
        watcher.stop()


@app.command(epilog="Example: python -m trainer rerun 3 --data-dir data")
def rerun(
    run: Annotated[int, typer.Argument(help="The run's number; see python -m trainer report.")],
    data_dir: DataDir = Path("data"),
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="Nats by which a loss may differ and still be the same.")
    ] = 1e-4,
) -> None:
    """Rebuild a run's adapter from its record alone, and compare the losses step by step.

    The record is the frozen dataset, the prompt version, the settings and the seed. Nothing is deployed. Status 0
    when the losses are the same, 1 when they differ.
    """
    store = open_store(data_dir)
    from trainer import rerun as reruns

    with _working(f"Training run {run} again ...", lambda: "Interrupted; nothing was kept.") as status:
        try:
            result = reruns.rerun(
                store,
                data_dir,
                run,
                lambda step, steps: status.update(f"Run {run} again: step {step} of {steps}"),
            )
        except reruns.NoRerun as error:
            fail(str(error))
    for warning in result.warnings:
        console.print(f"Not as in run {run}: {warning}.", soft_wrap=True)
    console.print(result.verdict(tolerance), soft_wrap=True)
    if result.differs_at(tolerance) is not None:
        raise typer.Exit(1)


app.command(epilog="Example: python -m trainer report --json")(report.report)
app.command(epilog="Example: python -m trainer erase ann --yes")(erasure.erase)
app.command(epilog="Example: python -m trainer disagreements --data-dir data")(inspection.disagreements)
app.command(epilog="Example: python -m trainer why 5f0c2a --json")(inspection.why)


@app.command(epilog="Example: python -m trainer rollback --reason 'worse answers about prices'")
def rollback(
    data_dir: DataDir = Path("data"),
    assistant: Assistant = "",
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "rolled back by hand",
) -> None:
    """Serve the previous pair (adapter and prompt) again."""
    store, name = open_assistant(data_dir, assistant)
    deployment = roll_back(store, data_dir, name, reason)
    served = f"{deployment.adapter or 'the base model'} with {deployment.prompt_tokens} prompt tokens"
    console.print(f"Deployment {deployment.id} is active again: {served}.")


app.add_typer(privacy.app, name="privacy")


@contextmanager
def _working(text: str, interruption: Callable[[], str]) -> Iterator[Status]:
    """Shows that a long command works; an interruption ends it with this message and status 130."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with console.status(text) as status:
            yield status
    except KeyboardInterrupt:
        fail(interruption(), status=130)


def _interrupt(*_: object) -> NoReturn:
    """A SIGTERM ends a run as Ctrl-C does. Once: the next ones must not interrupt what records it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _newest_run(store: Store, assistant: str) -> str:
    newest = store.runs.all(assistant, limit=1)
    return _in_words(newest[0]) if newest else "Interrupted before a run was started."


def _print_result(run: TrainingRun) -> None:
    """Exits with status 1 for a failed run: the launcher then ends the other processes, which may be mid-step."""
    console.print(_in_words(run), soft_wrap=True, markup=False)
    if run.report:
        console.print(report.table([run]))
    if run.status is RunStatus.FAILED:
        raise typer.Exit(1)


def _in_words(run: TrainingRun) -> str:
    return f"Run {run.id}: {run.status.value}. {run.message}"


if __name__ == "__main__":
    tracebacks.run(app)
