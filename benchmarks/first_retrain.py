"""The sample's first retrain, as a newcomer sees it: from start to page, from click to swap, and what it saved.

All real: app, vLLM, training, gate. A stream of answers runs from the gate to the swap, and its longest gap between two
tokens is recorded around the swap and, for comparison, while nothing is swapped.

    python -m benchmarks.first_retrain --out benchmarks/results/first_retrain.json
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from assistant.assistants import SAMPLE_ID
from assistant.rendering import keep, render
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import Delta, VllmClient
from benchmarks.processes import AppProcess
from benchmarks.record import write_result
from store import Store
from store.records import Role, RunStatus, TrainingRun

QUESTION = "Tell me a long story about everything that visitors can do here, from morning to evening."
_AROUND_S = 3.0
_SHORTER = ("'variant ", "'variant ")  # of events while shorter variants are tested
RESULT = Path("benchmarks/results/first_retrain.json")

console = Console()


class Streamer(threading.Thread):
    """Streams answer after answer from whatever is active, and records when each token came."""

    def __init__(self, app: AppProcess, store: Store):
        super().__init__(daemon=True)
        self._app, self._store = app, store
        self._done = threading.Event()
        self.streams: list[list[float]] = []
        self.failures: list[str] = []

    def finish(self) -> None:
        self._done.set()
        self.join(60.0)

    def run(self) -> None:
        asyncio.run(self._stream())

    async def _stream(self) -> None:
        address = self._app.address()
        tokenizer = ChatTokenizer.load(Path(address.model_dir))
        client = VllmClient(address.urls[0], address.key)
        while not self._done.is_set():
            deployment = self._store.deployments.active(SAMPLE_ID)
            if deployment is None:
                continue
            segments = keep(self._store.prompts.get(deployment.prompt_id).segments, deployment.segment_ids)
            ids = render(tokenizer, segments, ((Role.USER, QUESTION),)).ids
            times: list[float] = []
            try:
                async for item in client.stream(
                    deployment.adapter or "base",
                    ids,
                    max_tokens=256,
                    end_ids=tokenizer.end_ids,
                    temperature=1.0,
                ):
                    if isinstance(item, Delta):
                        times.append(time.time())
            except Exception as error:  # every kind of failure counts; the benchmark reports them
                self.failures.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(1.0)
            self.streams.append(times)
        await client.close()

    def longest_gap(self, start: float, end: float) -> float | None:
        """Longest pause between two tokens of one answer that overlaps the window, in seconds."""
        gaps = [
            later - earlier
            for times in self.streams
            for earlier, later in zip(times, times[1:], strict=False)
            if later >= start and earlier <= end
        ]
        return max(gaps, default=None)


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
            result = _retrain(app, store)
    return result | {"page_s": round(page_s, 1), "model_s": round(model_s, 1)}


def _retrain(app: AppProcess, store: Store) -> dict[str, Any]:
    streamer = Streamer(app, store)
    clicked = time.time()
    store.runs.request(SAMPLE_ID, "benchmark")
    run = _wait(store, streamer)
    console.print(f"{run.status.value}: {run.message}")
    result = _result(store, run, clicked)
    if streamer.is_alive():
        time.sleep(_AROUND_S)
        streamer.finish()
    if run.status is RunStatus.PROMOTED:
        swapped = store.deployments.activations(SAMPLE_ID)[-1].at
        result["longest_token_gap"] = {
            "around_swap_s": streamer.longest_gap(swapped - _AROUND_S, swapped + _AROUND_S),
            "a_minute_earlier_s": streamer.longest_gap(swapped - 60 - _AROUND_S, swapped - 60 + _AROUND_S),
            "failed_requests": streamer.failures,
        }
    return result


def _result(store: Store, run: TrainingRun, clicked: float) -> dict[str, Any]:
    """What the run changed and how long it took; seconds from the click."""
    swapped = next(
        (
            a.at
            for a in store.deployments.activations(run.assistant_id)
            if store.deployments.get(a.deployment_id).run_id == run.id
        ),
        None,
    )
    return {
        "status": run.status.value,
        "message": run.message,
        "click_to_swap_s": round(swapped - clicked, 1) if swapped else None,
        "click_to_end_s": round(run.finished_at - clicked, 1) if run.finished_at else None,
        "settings": run.settings,
        "report": run.report,
    }


def _wait(store: Store, streamer: Streamer) -> TrainingRun:
    """The finished run; streams from the shorter variants' turn in the gate on, so that training is not disturbed."""
    seen = ""
    while True:
        runs = store.runs.all(SAMPLE_ID)
        if runs and runs[0].status is not RunStatus.RUNNING:
            return runs[0]
        if runs:
            events = store.runs.events(runs[0].id)
            line = f"{events[-1].phase} {events[-1].data}" if events else ""
            if not streamer.is_alive() and any(word in line for word in _SHORTER):
                streamer.start()
            if line != seen:
                seen = line
                console.print(line, soft_wrap=True)
        time.sleep(2.0)


if __name__ == "__main__":
    typer.run(main)
