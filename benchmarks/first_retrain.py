"""The sample's first retrain, as a newcomer sees it: from start to page, from click to swap, and what it saved.

In: nothing but the installed product. Out: `results/first_retrain.json`. All real: app, vLLM, training, gate;
a stream of answers runs through the whole retrain, and its longest gap between two tokens is recorded around
the swap and, for comparison, while nothing is swapped.

    python -m benchmarks.first_retrain --out benchmarks/results/first_retrain.json
"""

from __future__ import annotations

import asyncio
import json
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
from benchmarks.app_process import AppProcess
from benchmarks.provenance import provenance
from store import Store
from store.records import Role, RunStatus, TrainingRun

QUESTION = "Tell me a long story about everything that visitors can do here, from morning to evening."
_AROUND_S = 3.0

console = Console()


class Streamer(threading.Thread):
    """Streams answer after answer from whatever is active, noting when each token came."""

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
            deployment = self._store.active(SAMPLE_ID)
            if deployment is None:
                continue
            segments = keep(self._store.prompt(deployment.prompt_id).segments, deployment.kept)
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
    out: Annotated[Path, typer.Option(help="Where the result goes.")] = Path(
        "benchmarks/results/first_retrain.json"
    ),
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the data here instead of a temporary folder.")
    ] = None,
    stream: Annotated[bool, typer.Option(help="Stream answers during the retrain.")] = True,
) -> None:
    """Measure the first retrain on the sample. Takes about ten minutes on two cores."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = data_dir or Path(temporary)
        started = time.monotonic()
        with AppProcess(directory, "--sample") as app:
            app.wait_for_page()
            page_s = time.monotonic() - started
            app.wait_for_model()
            model_s = time.monotonic() - started
            console.print(f"Page after {page_s:.0f} s, model after {model_s:.0f} s. Training ...")
            with Store(directory / "shorthand.sqlite") as store:
                result = _retrain(app, store, stream)
    result |= {"page_s": round(page_s, 1), "model_s": round(model_s, 1)}
    result["provenance"] = provenance("python -m benchmarks.first_retrain", seed=0)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    console.print(f"Written to {out}.")


def _retrain(app: AppProcess, store: Store, stream: bool) -> dict[str, Any]:
    streamer = Streamer(app, store)
    if stream:
        streamer.start()
    clicked = time.time()
    store.request_training(SAMPLE_ID, "benchmark")
    run = _wait(store)
    console.print(f"{run.status.value}: {run.message}")
    if stream:
        time.sleep(_AROUND_S)
        streamer.finish()
    gaps: dict[str, Any] = {}
    activation = store.activations(SAMPLE_ID)[-1]
    if run.status is RunStatus.PROMOTED and stream:
        window = (activation.at - _AROUND_S, activation.at + _AROUND_S)
        quiet = (window[0] - 60, window[0] - 60 + 2 * _AROUND_S)
        gaps = {
            "around_swap_s": streamer.longest_gap(*window),
            "a_minute_earlier_s": streamer.longest_gap(*quiet),
            "failed_requests": streamer.failures,
        }
    return {
        "status": run.status.value,
        "message": run.message,
        "click_to_swap_s": round(activation.at - clicked, 1) if run.status is RunStatus.PROMOTED else None,
        "click_to_end_s": round((run.finished_at or time.time()) - clicked, 1),
        "longest_token_gap": gaps,
        "settings": run.settings,
        "report": run.report,
    }


def _wait(store: Store) -> TrainingRun:
    seen = ""
    while True:
        runs = store.runs(SAMPLE_ID)
        if runs and runs[0].status is not RunStatus.RUNNING:
            return runs[0]
        if runs:
            events = store.events(runs[0].id)
            line = f"{events[-1].phase} {events[-1].data}" if events else ""
            if line != seen:
                seen = line
                console.print(line, soft_wrap=True)
        time.sleep(2.0)


if __name__ == "__main__":
    typer.run(main)
