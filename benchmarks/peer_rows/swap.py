"""The app with the embedded model and the sample: its first answer after it says ready, and what a swap does to people
whose prompt is cached.
"""

import asyncio
import json
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from assistant.assistants import SAMPLE_ID
from assistant.serving import load_deployment
from benchmarks import random_adapters
from benchmarks.faults.scene import CopiedModel
from benchmarks.peer_rows.bench import Bench, Found, Turn
from benchmarks.processes import AppProcess, answers
from benchmarks.serving import Serving
from store import Store
from trainer.deployment.swap import hot_swap
from trainer.training.publish import publish_run

_QUESTIONS = ("How much is a kayak for an hour?", "Do you hire out life jackets?", "When do you close?")


def measure(bench: Bench) -> Found:
    bench.remarks.append("The adapter of this row has random weights, so only its times mean something.")
    return bench.in_turn({"Shorthand": lambda: _turn(bench)})


def _turn(bench: Bench) -> Turn:
    with TemporaryDirectory(prefix="swap-") as folder:
        options = ("--model", str(bench.model_dir()), "--sample", "--no-trainer")
        started = time.monotonic()
        with AppProcess(Path(folder), *options) as app, Store(Path(folder) / "shorthand.sqlite") as store:
            app.wait_for_page()
            while not answers(app.url, "/readyz"):
                time.sleep(0.05)
            turn = {"start to ready, s": time.monotonic() - started}
            turn["first answer after ready, first text, s"] = _first_s(app.url, _QUESTIONS[0])
            before = _cached(app.url)
            asyncio.run(_swap(Path(folder), store, bench))
            after_first = _first_s(app.url, _QUESTIONS[0])
            return turn | {
                "cached first text before a swap, ms": 1000 * before,
                "first text after the swap, first question, ms": 1000 * after_first,
                "cached first text after a swap, ms": 1000 * _cached(app.url),
            }


async def _swap(folder: Path, store: Store, bench: Bench) -> None:
    """To an adapter without any prompt, as a retrain ends, but for the gate."""
    serving = Serving(folder, store)
    pool = await serving.pool()
    (name,) = random_adapters.make(
        Path(serving.address.model_dir), bench.scratch / "adapters", 1, serving.base
    )
    run = store.runs.start(SAMPLE_ID, {}, "benchmark")
    adapter = publish_run(
        store, run, CopiedModel(bench.scratch / "adapters" / name), serving.adapters, serving.base
    )
    prompt = store.prompts.latest(SAMPLE_ID)
    candidate = store.deployments.add(SAMPLE_ID, prompt.id, adapter, (), 1, 0, run.id)
    await load_deployment(pool, candidate, serving.adapters, serving.base)
    active = store.deployments.active(SAMPLE_ID)
    await hot_swap(store, pool, serving.tokenizer, serving.adapters, candidate, active)
    await pool.close()


def _cached(url: str) -> float:
    """The median over questions that were all asked before."""
    for question in _QUESTIONS:
        _first_s(url, question)
    return statistics.median(_first_s(url, question) for question in _QUESTIONS * 3)


def _first_s(url: str, question: str) -> float:
    messages = [{"role": "user", "content": question}]
    body = {"model": SAMPLE_ID, "messages": messages, "stream": True, "max_tokens": 16}
    began = time.monotonic()
    with httpx.stream(
        "POST", f"{url}/v1/chat/completions", json=body, timeout=120.0, trust_env=False
    ) as reply:
        reply.raise_for_status()
        for line in reply.iter_lines():
            if line.startswith("data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                return time.monotonic() - began
    raise RuntimeError(f"No text in the answer to {question!r}.")
