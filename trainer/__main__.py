"""`python -m trainer`: once, watch, report, rollback, runs.

In: arguments. Out: exit status 0 when the command did its work (a refused candidate and “not enough yet” are
results), 1 when a run failed, 2 for wrong usage.
"""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from assistant.adapter_files import BadAdapter, fingerprint
from assistant.server_file import NoServer, ServerAddress
from assistant.serving import reconcile
from assistant.tokenizer import TokenizerError
from assistant.vllm_client import VllmError
from assistant.vllm_pool import VllmPool
from store import Store, StoreError
from store.records import RunStatus
from trainer import report as reports
from trainer.lease import LeaseTaken
from trainer.settings import TrainerSettings

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, help=__doc__)
console = Console()

DataDir = Annotated[Path, typer.Option(envvar="SHORTHAND_DATA_DIR", help="Where the app keeps its data.")]
Assistant = Annotated[
    str, typer.Option("--assistant", help="Which assistant; needed when there are several.")
]
Margin = Annotated[float, typer.Option(min=0.001, max=0.5, help="Allowed loss of the score, 0 to 1.")]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the training examples, at most.")]
MinTrain = Annotated[int, typer.Option(min=2, help="Training examples needed before a run starts.")]
MinGate = Annotated[int, typer.Option(min=2, help="Gate examples needed before a run starts.")]

_DEFAULT = TrainerSettings()


@app.command(epilog="Example: python -m trainer once --data-dir data")
def once(
    data_dir: DataDir = Path("data"),
    assistant: Assistant = "",
    trigger: Annotated[str, typer.Option(help="Why this run was started, for the record.")] = "command line",
    margin: Margin = _DEFAULT.margin,
    epochs: Epochs = _DEFAULT.epochs,
    min_train: MinTrain = _DEFAULT.min_train,
    min_gate: MinGate = _DEFAULT.min_gate,
) -> None:
    """Retrain now, on what is approved so far. The app must be running: it owns the model server."""
    store = _open(data_dir)
    name = _assistant(store, assistant)
    settings = replace(_DEFAULT, margin=margin, epochs=epochs, min_train=min_train, min_gate=min_gate)
    from trainer.run import run_once  # pulls in torch, which takes seconds that --help should not cost
    from trainer.workshop import Workshop

    try:
        with console.status("Training; the page Training shows every step ..."):
            run = run_once(Workshop.open(store, data_dir, settings), name, trigger)
    except (LeaseTaken, NoServer, TokenizerError) as error:
        _fail(str(error))
    console.print(f"Run {run.id}: {run.status.value}. {run.message}", soft_wrap=True)
    if run.report:
        console.print(reports.as_table([run]))
    if run.status is RunStatus.FAILED:
        raise typer.Exit(1)


@app.command(epilog="Example: python -m trainer watch --data-dir data --every 300")
def watch(
    data_dir: DataDir = Path("data"),
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks for new examples.")] = 300.0,
    margin: Margin = _DEFAULT.margin,
    epochs: Epochs = _DEFAULT.epochs,
    min_train: MinTrain = _DEFAULT.min_train,
    min_gate: MinGate = _DEFAULT.min_gate,
) -> None:
    """Retrain by itself: on request from the page, and when enough new approved examples have come in."""
    from trainer.watch import Watch

    settings = replace(_DEFAULT, margin=margin, epochs=epochs, min_train=min_train, min_gate=min_gate)
    options = [
        "--margin",
        str(margin),
        "--epochs",
        str(epochs),
        "--min-train",
        str(min_train),
        "--min-gate",
        str(min_gate),
    ]
    watcher = Watch(_open(data_dir, create=True), data_dir, settings, options, every)
    signal.signal(signal.SIGTERM, lambda *_: watcher.stop())
    try:
        watcher.run()
    except LeaseTaken as error:
        _fail(str(error))
    except KeyboardInterrupt:
        watcher.stop()


@app.command(epilog="Example: python -m trainer report --json")
def report(
    data_dir: DataDir = Path("data"),
    assistant: Assistant = "",
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """What each retrain changed, and why to trust it."""
    store = _open(data_dir)
    runs = store.runs(_assistant(store, assistant))[::-1]
    if as_json:
        print(json.dumps(reports.as_json(runs), indent=1))
    elif runs:
        console.print(reports.as_table(runs))
    else:
        console.print("No retrain yet. Rate some answers, then: python -m trainer once")


@app.command(epilog="Example: python -m trainer runs")
def runs(data_dir: DataDir = Path("data"), assistant: Assistant = "") -> None:
    """A line a run, newest first."""
    store = _open(data_dir)
    for run in store.runs(_assistant(store, assistant)):
        console.print(f"{run.id:>4}  {run.status.value:<11} {run.trigger:<20} {run.message}", soft_wrap=True)


@app.command(epilog="Example: python -m trainer rollback --reason 'worse answers about prices'")
def rollback(
    data_dir: DataDir = Path("data"),
    assistant: Assistant = "",
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "rolled back by hand",
) -> None:
    """Serve the previous pair (adapter and prompt) again."""
    store = _open(data_dir)
    name = _assistant(store, assistant)
    try:
        deployment = store.rollback(name, reason)
        asyncio.run(_load(store, data_dir))
    except (StoreError, NoServer, VllmError, BadAdapter) as error:
        _fail(str(error))
    served = f"{deployment.adapter or 'the base model'} with {deployment.prompt_tokens} prompt tokens"
    console.print(f"Deployment {deployment.id} is active again: {served}.")


async def _load(store: Store, data_dir: Path) -> None:
    address = ServerAddress.read(data_dir)
    pool = await VllmPool.connect(address.urls, address.key)
    try:
        await reconcile(store, pool, data_dir / "adapters", fingerprint(Path(address.model_dir)))
    finally:
        await pool.close()


def _open(data_dir: Path, create: bool = False) -> Store:
    path = data_dir / "shorthand.sqlite"
    if not create and not path.exists():
        _fail(f"There is no store at {path}. Start the app first (make run), or give --data-dir.")
    try:
        return Store(path)
    except StoreError as error:
        _fail(str(error))


def _assistant(store: Store, wanted: str) -> str:
    names = [assistant.id for assistant in store.assistants()]
    if wanted in names:
        return wanted
    if not names:
        _fail(
            "Not enough yet: there is no assistant. Load the sample or write a prompt on the page.", status=0
        )
    if wanted or len(names) > 1:
        _fail(
            f"Choose an assistant with --assistant: {', '.join(names)}"
            + (f" (not {wanted!r})." if wanted else ".")
        )
    return names[0]


def _fail(message: str, status: int = 2) -> NoReturn:
    Console(stderr=bool(status)).print(message, soft_wrap=True)
    raise typer.Exit(status)


if __name__ == "__main__":
    app()
