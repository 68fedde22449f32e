"""The sample's first retrain, as a newcomer sees it: from start to page, from click to swap, and what it saved; then an
edit of its prompt, the price of a kayak, until something shorter than the whole new text is served.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from assistant.assistants import SAMPLE_ID, save_prompt
from assistant.tokenizer import ChatTokenizer
from benchmarks.processes import AppProcess
from benchmarks.record import write_result
from store import Store
from store.lock import TRAINING, is_locked
from store.outdated import outdated_answers
from store.records import WITHOUT_TRAINING, RunStatus, TrainingRun
from trainer.prompt_edit import next_try

_PRICES = "$14", "$15"
_QUESTIONS = (
    "How much is a kayak for an hour?",
    "What does one hour in a kayak cost?",
    "price of a single kayak?",
)
_VERDICTS = (RunStatus.PROMOTED, RunStatus.REFUSED)
RESULT = Path("benchmarks/results/first_retrain.json")

console = Console()


def main(
    out: Annotated[Path, typer.Option(help="Where the result goes.")] = RESULT,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the data here instead of a temporary folder.")
    ] = None,
) -> None:
    """Measure the first retrain on the sample, and an edit after it. Takes about twenty minutes on two cores.

    With a --data-dir that has seen a retrain already only the edit is measured.
    """
    with tempfile.TemporaryDirectory() as temporary:
        result = _start_and_retrain(data_dir or Path(temporary))
    write_result(out, "first_retrain", result["edit"]["settings"]["seed"], result)
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
            has_run = bool(store.runs.all(SAMPLE_ID, 1))
            result: dict[str, Any] = {} if has_run else _retrain(store)
            edit = _edit(store, ChatTokenizer.load(Path(app.address().model_dir)), app.url, app.data_dir)
    return result | {"edit": edit, "page_s": round(page_s, 1), "model_s": round(model_s, 1)}


def _retrain(store: Store) -> dict[str, Any]:
    """What the run changed and how long it took; seconds from the click."""
    clicked = time.time()
    store.runs.request(SAMPLE_ID, "benchmark")
    run = _wait(store, 0)
    console.print(f"{run.status.value}: {run.message}")
    swapped = _swapped_at(store, run)
    return {
        "status": run.status.value,
        "message": run.message,
        "click_to_swap_s": round(swapped - clicked, 1) if swapped else None,
        "click_to_end_s": round(run.finished_at - clicked, 1) if run.finished_at else None,
        "settings": run.settings,
        "report": run.report,
    }


def _edit(store: Store, tokenizer: ChatTokenizer, url: str, data_dir: Path) -> dict[str, Any]:
    """What is served after the edit, and what it answers; seconds from saving it."""
    prompt = store.prompts.all(SAMPLE_ID)[0]
    old, new = _PRICES
    segments = [
        replace(one, text=one.text.replace(old, new), assistant=one.assistant.replace(old, new))
        for one in prompt.segments
    ]
    newest, saved = store.runs.all(SAMPLE_ID, 1)[0].id, time.time()
    full = save_prompt(store, tokenizer, SAMPLE_ID, segments)
    _wait(store, newest)
    # Where the adapter was refused, the base model follows.
    while next_try(store, SAMPLE_ID) or is_locked(data_dir, TRAINING):
        time.sleep(1.0)
    runs = [run for run in store.runs.all(SAMPLE_ID) if run.id > newest]
    run, first = runs[0], runs[-1]
    console.print(f"{first.status.value}: {first.message}\n{run.status.value}: {run.message}")
    swapped, active = _swapped_at(store, run), store.deployments.active(SAMPLE_ID)
    answers = {question: _ask(url, question) for question in _QUESTIONS}
    console.print(answers)
    return {
        "status": run.status.value,
        "message": run.message,
        "first_message": first.message,  # of the adapter, if another run followed
        "saved_to_swap_s": round(swapped - saved, 1) if swapped else None,
        "changed_segments": sum(a != b for a, b in zip(segments, prompt.segments, strict=True)),
        "tokens_full": full.prompt_tokens,
        "tokens_served": active.prompt_tokens if active else None,
        "outdated_answers": len(outdated_answers(store, SAMPLE_ID)),
        "answers": answers,
        "settings": run.settings,
        "report": run.report,
    }


def _ask(url: str, question: str) -> str:
    body = {"model": SAMPLE_ID, "messages": [{"role": "user", "content": question}]}
    response = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120.0)
    return str(response.raise_for_status().json()["choices"][0]["message"]["content"])


def _swapped_at(store: Store, run: TrainingRun) -> float | None:
    """When what the run made was served (UTC seconds)."""
    for one in store.deployments.activations(SAMPLE_ID):
        if store.deployments.get(one.deployment_id).run_id == run.id:
            return one.at
    return None


def _wait(store: Store, after: int) -> TrainingRun:
    """The finished run that follows this one, and what it tries before it trains; prints its events meanwhile."""
    seen: dict[int, int] = {}
    while True:
        runs = [run for run in store.runs.all(SAMPLE_ID, 1) if run.id > after]
        for run in runs:
            events = store.runs.events(run.id)
            for event in events[seen.get(run.id, 0) :]:
                console.print(f"{event.phase} {event.data}", soft_wrap=True)
            seen[run.id] = len(events)
            is_first = run.trigger.endswith(WITHOUT_TRAINING) and run.status in _VERDICTS
            if run.status is not RunStatus.RUNNING and not is_first:
                return run
        time.sleep(2.0)


if __name__ == "__main__":
    typer.run(main)
