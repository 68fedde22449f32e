"""The sample's first retrain, as a newcomer sees it: from start to page, from click to swap, and what it saved."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from assistant.assistants import SAMPLE_ID
from benchmarks.processes import AppProcess
from benchmarks.record import write_result
from store import Store
from store.records import RunStatus, TrainingRun

RESULT = Path("benchmarks/results/first_retrain.json")

console = Console()


def main(
    out: Annotated[Path, typer.Option(help="Where the result goes.")] = RESULT,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the data here instead of a temporary folder.")
    ] = None,
) -> None:
    """Measure the first retrain on the sample. Takes about fifteen minutes on two cores."""
    with tempfile.TemporaryDirectory() as temporary:
        result = _start_and_retrain(data_dir or Path(temporary))
    write_result(out, "first_retrain", result["settings"]["seed"], result)
    console.print(f"Written to {out}.")


def _start_and_retrain(directory: Path) -> dict[str, Any]:
    started = time.monotonic()
    with AppProcess(directory, "--sample") as app:
        app.wait_for_page()
        page_s = time.monotonic() - started
        app.wait_for_model()
        model_s = time.monotonic() - started
        console.print(f"Page after {page_s:.0f} s, model after {model_s:.0f} s. Training ...")
        with Store(directory / "shorthand.sqlite") as store:
            result = _retrain(store)
    return result | {"page_s": round(page_s, 1), "model_s": round(model_s, 1)}


def _retrain(store: Store) -> dict[str, Any]:
    """What the run changed and how long it took; seconds from the click."""
    clicked = time.time()
    store.runs.request(SAMPLE_ID, "benchmark")
    run = _wait(store)
    console.print(f"{run.status.value}: {run.message}")
    activations = store.deployments.activations(SAMPLE_ID)
    swapped = [a.at for a in activations if store.deployments.get(a.deployment_id).run_id == run.id]
    return {
        "status": run.status.value,
        "message": run.message,
        "click_to_swap_s": round(swapped[0] - clicked, 1) if swapped else None,
        "click_to_end_s": round(run.finished_at - clicked, 1) if run.finished_at else None,
        "settings": run.settings,
        "report": run.report,
    }


def _wait(store: Store) -> TrainingRun:
    """The finished run; prints its events meanwhile."""
    seen = 0
    while True:
        runs = store.runs.all(SAMPLE_ID, 1)
        for event in store.runs.events(runs[0].id)[seen:] if runs else ():
            seen += 1
            console.print(f"{event.phase} {event.data}", soft_wrap=True)
        if runs and runs[0].status is not RunStatus.RUNNING:
            return runs[0]
        time.sleep(2.0)


if __name__ == "__main__":
    typer.run(main)
