"""`python -m trainer`: once, reevaluate, watch, report, runs, disagreements, why, datasets, rollback, erase,
rerun, and the group privacy.

In: arguments. Out: exit status 0 when the command did its work (a refused candidate and “not enough yet” are
results), 1 when a run failed or a rerun differs, 2 for wrong usage, 130 when it was interrupted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from assistant.adapter_files import BadAdapter
from assistant.serving import NoServer
from assistant.tokenizer import TokenizerError
from assistant.vllm_client import VllmError
from store import StoreError
from store.garbage import collect_rarely
from store.records import RunStatus
from trainer import erasing, looking_back
from trainer import report as reports
from trainer.command_line import (
    Assistant,
    DataDir,
    Set,
    assistant_id,
    console,
    fail,
    open_store,
    settings_from,
)
from trainer.deployment.swap import roll_back
from trainer.lease import LeaseTaken
from trainer.redaction import commands as privacy
from trainer.training import distributed

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, help=__doc__)
app.add_typer(privacy.app, name="privacy")
Epochs = Annotated[int | None, typer.Option(min=1, help="The same as --set epochs=N.")]


@app.command(epilog="Example: python -m trainer once --data-dir data --set epochs=3 --set learning_rate=5e-4")
def once(
    data_dir: DataDir = Path("data"),
    assistant: Assistant = "",
    trigger: Annotated[str, typer.Option(help="Why this run was started, for the record.")] = "command line",
    epochs: Epochs = None,
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
    store = open_store(data_dir)
    name = assistant_id(store, assistant)
    from trainer.context import TrainingContext
    from trainer.run import run_once  # pulls in torch, which takes seconds that --help should not cost

    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with console.status("Training; the page Training shows every step ..."):
            run = run_once(TrainingContext.open(store, data_dir, settings), name, trigger)
    except (LeaseTaken, NoServer, TokenizerError, StoreError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        (run,) = store.runs.all(name, limit=1)
        fail(f"Run {run.id}: {run.status.value}. {run.message}", status=130)
    console.print(f"Run {run.id}: {run.status.value}. {run.message}", soft_wrap=True)
    if run.report:
        console.print(reports.as_table([run]))
    if run.status is RunStatus.FAILED:
        raise typer.Exit(1)  # the launcher ends the other processes, which may be in the middle of a step
    distributed.shut_down()


@app.command("reevaluate", epilog="Example: python -m trainer reevaluate --data-dir data")
def reevaluate_(data_dir: DataDir = Path("data"), assistant: Assistant = "") -> None:
    """Evaluate a refused candidate again, once people have decided about its answers on the Review page.

    Nothing is trained. `watch` does this by itself.
    """
    store = open_store(data_dir)
    name = assistant_id(store, assistant)
    from trainer.context import TrainingContext
    from trainer.run import reevaluate
    from trainer.settings import TrainerSettings

    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with console.status("Scoring its answers again ..."):
            run = reevaluate(TrainingContext.open(store, data_dir, TrainerSettings()), name)
    except (LeaseTaken, NoServer, TokenizerError, StoreError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        (run,) = store.runs.all(name, limit=1)
        fail(f"Run {run.id}: {run.status.value}. {run.message}", status=130)
    if run is None:
        fail(
            f"No candidate of {name!r} waits for a re-evaluation. One does when it was refused for its scores alone, "
            "the Review page has a decision about every answer that it asked about, one of them was accepted, and "
            "prompt and deployment are still the same."
        )
    console.print(f"Run {run.id}: {run.status.value}. {run.message}", soft_wrap=True)
    if run.report:
        console.print(reports.as_table([run]))
    if run.status is RunStatus.FAILED:
        raise typer.Exit(1)


@app.command(epilog="Example: python -m trainer watch --data-dir data --every 300 --set retrain_after=50")
def watch(
    data_dir: DataDir = Path("data"),
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks for new examples.")] = 300.0,
    changed: Set = None,
) -> None:
    """Retrain by itself: on request from the page, and when enough new approved examples have come in."""
    from trainer.watch import Watch

    collect_rarely()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    settings = settings_from(changed or ())
    options = [word for text in changed or () for word in ("--set", text)]
    watcher = Watch(open_store(data_dir, create=True), data_dir, settings, options, every)
    signal.signal(signal.SIGTERM, lambda *_: watcher.stop())
    try:
        watcher.run()
    except LeaseTaken as error:
        fail(str(error))
    except KeyboardInterrupt:
        watcher.stop()


@app.command(epilog="Example: python -m trainer rerun 3 --data-dir data")
def rerun(
    run: Annotated[int, typer.Argument(help="The run's number; see python -m trainer runs.")],
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
    from trainer.rerun import NoRerun
    from trainer.rerun import rerun as train_again

    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with console.status(f"Training run {run} again ...") as status:
            found = train_again(store, data_dir, run, lambda said: status.update(f"Run {run} again: {said}"))
    except (LeaseTaken, NoServer, TokenizerError, StoreError, NoRerun) as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("Interrupted; nothing was kept.", status=130)
    for warning in found.warnings:
        console.print(f"Other than then: {warning}.", soft_wrap=True)
    console.print(found.verdict(tolerance), soft_wrap=True)
    if not found.same(tolerance):
        raise typer.Exit(1)


@app.command(epilog="Example: python -m trainer report --json")
def report(
    data_dir: DataDir = Path("data"),
    assistant: Assistant = "",
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """What each retrain changed, and why to trust it."""
    store = open_store(data_dir)
    runs = store.runs.all(assistant_id(store, assistant))[::-1]
    if as_json:
        print(json.dumps(reports.as_json(runs), indent=1))
    elif runs:
        console.print(reports.as_table(runs))
    else:
        console.print("No retrain yet. Rate some answers, then: python -m trainer once")


@app.command("erase", epilog="Example: python -m trainer erase ann --yes")
def erase_(
    person: Annotated[
        str, typer.Argument(help="The owner of conversations, the rater, the reviewer, or all of them.")
    ],
    data_dir: DataDir = Path("data"),
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this only say what would go.")] = False,
) -> None:
    """Erase what a person wrote, and every adapter that learned from it. It cannot be undone.

    Conversations that the person owns go, the ratings, corrections and reviews that the person gave, and the examples
    made of any of them. Where such an adapter answers now, the base model with the full prompt takes over at once and a
    retrain without the person is asked for. Backups and exports keep what they have.
    """
    store = open_store(data_dir)
    try:
        found, left = (
            asyncio.run(erasing.erase(store, data_dir, person))
            if yes
            else (store.erasure.preview(person), [])
        )
    except StoreError as error:
        fail(str(error))
    console.print(
        f"{'Erased' if yes else 'Would erase'}: conversations: {found.conversations:,}, ratings: {found.ratings:,}, "
        f"decisions of reviewers: {found.decisions:,}, decided proposals: {found.judgement_requests:,}, "
        f"examples in datasets: {found.examples:,}.",
        soft_wrap=True,
    )
    console.print(
        f"Adapters that learned from them: {', '.join(found.adapters) or 'none'}.",
        soft_wrap=True,
        markup=False,
    )
    for name in found.assistants:
        how = "answers" if yes else "would answer"
        console.print(
            f"{name}: the base model with the full prompt {how} until the next retrain.", markup=False
        )
    for line in left:
        console.print(line, soft_wrap=True, markup=False)
    if not yes and found:
        console.print("To do it: add --yes.")
    if left:
        raise typer.Exit(1)


@app.command(epilog="Example: python -m trainer runs")
def runs(data_dir: DataDir = Path("data"), assistant: Assistant = "") -> None:
    """A line a run, newest first."""
    store = open_store(data_dir)
    for run in store.runs.all(assistant_id(store, assistant)):
        console.print(f"{run.id:>4}  {run.status.value:<11} {run.trigger:<20} {run.message}", soft_wrap=True)


app.command(epilog="Example: python -m trainer disagreements --data-dir data")(looking_back.disagreements)
app.command(epilog="Example: python -m trainer why 5f0c2a --json")(looking_back.why)
app.command(epilog="Example: python -m trainer datasets 3 5")(looking_back.datasets)


@app.command(epilog="Example: python -m trainer rollback --reason 'worse answers about prices'")
def rollback(
    data_dir: DataDir = Path("data"),
    assistant: Assistant = "",
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "rolled back by hand",
) -> None:
    """Serve the previous pair (adapter and prompt) again."""
    store = open_store(data_dir)
    name = assistant_id(store, assistant)
    try:
        deployment = roll_back(store, data_dir, name, reason)
    except (StoreError, NoServer, VllmError, BadAdapter) as error:
        fail(str(error))
    served = f"{deployment.adapter or 'the base model'} with {deployment.prompt_tokens} prompt tokens"
    console.print(f"Deployment {deployment.id} is active again: {served}.")


def _interrupt(*_: object) -> NoReturn:
    """A SIGTERM ends a run as Ctrl-C does. Once: the next ones must not interrupt what records it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    app()
