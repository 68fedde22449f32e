"""How the cost of training, gate, retrieval and memory grows with what there is, and a picture of it.

Each line is measured at sizes that differ by about four times; its exponent is the slope of the logarithms, by least
squares: 1 where twice as much takes twice as long, 0 where it costs nothing more.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import httpx
import matplotlib
import numpy as np
import psutil
import typer
from matplotlib.figure import Figure

from assistant.approved import ApprovedAnswers
from assistant.rendering import render
from benchmarks.made_store import make_store
from benchmarks.processes import AppFailed, AppProcess, FakeServer
from benchmarks.record import Screen, write_result
from benchmarks.report import GRID, INK, PAPER, PINE, SOFT
from benchmarks.serving import OwnServer
from benchmarks.tasks.measurement import AT_ONCE
from benchmarks.tasks.task import Item, load
from store import Store
from store.demonstrations import Demonstration
from store.records import Example, Role, Split
from trainer.settings import TrainerSettings
from trainer.training.finetune import TrainingJob, finetune
from trainer.training.rows import dev_rows, train_rows

_EXAMPLES, _DEV = (50, 200, 800), 20
_QUESTIONS, _ANSWER_TOKENS = (32, 128, 512, 1024), 16
_APPROVED, _FOUND, _DIMENSIONS = (1_000, 5_000, 20_000, 100_000), 50, 384
_CONVERSATIONS = (500, 5_000, 50_000)
_MESSAGES = 6  # of a conversation, about
Costs = dict[int, float]


def training(server: OwnServer, items: Sequence[Item], work_dir: Path, screen: Screen) -> Costs:
    """Seconds of one epoch, by examples."""
    settings, found = TrainerSettings(epochs=1), Costs()
    examples = [
        Example(one.id, one.id, ((Role.USER, one.user),), one.references[0], False, Split.TRAIN)
        for one in items
    ]
    for size in _EXAMPLES:
        rows, ends = train_rows(server.tokenizer, (), examples[_DEV : _DEV + size], settings)
        dev = dev_rows(server.tokenizer, (), examples[:_DEV])
        job = TrainingJob(server.model_dir, rows, ends, dev, settings, work_dir / str(size))
        with screen.status(f"One epoch of {size} examples"):
            found[size] = finetune(job, lambda event: None).seconds
    return found


async def gate(server: OwnServer, items: Sequence[Item], screen: Screen) -> Costs:
    """Seconds until so many questions are answered, as a gate asks them."""
    pool, slots, found = server.pool(), asyncio.Semaphore(AT_ONCE), Costs()

    async def answer(item: Item, size: int) -> None:
        ids = render(server.tokenizer, (), ((Role.USER, f"{item.user} ({size})"),)).ids
        async with slots:
            await pool.complete(pool.base, ids, max_tokens=_ANSWER_TOKENS, end_ids=server.tokenizer.end_ids)

    try:
        for size in _QUESTIONS:
            with screen.status(f"{size} questions"):
                began = time.monotonic()
                await asyncio.gather(*(answer(one, size) for one in items[:size]))
                found[size] = round(time.monotonic() - began, 2)
    finally:
        await pool.close()
    return found


def retrieval(seed: int) -> Costs:
    """Milliseconds to find the nearest five, by approved answers; the question's own vector is always the same work."""
    chance, found = np.random.default_rng(seed), Costs()
    for size in _APPROVED:
        vectors = chance.standard_normal((size, _DIMENSIONS)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        known = ApprovedAnswers.of([Demonstration(str(n), "", str(n % 100)) for n in range(size)], vectors)
        times = []
        for question in vectors[:_FOUND]:
            began = time.perf_counter()
            nearest = known.nearest(question, lambda one: True)
            assert len([next(nearest) for _ in range(5)]) == 5
            times.append(time.perf_counter() - began)
        found[size] = round(1000 * median(times), 3)
    return found


def memory(model_dir: Path, seed: int, screen: Screen) -> dict[str, Costs]:
    """MiB that the app and the trainer beside it hold, by conversations in the store, once a page was loaded."""
    found: dict[str, Costs] = {"the app": {}, "the trainer": {}}
    for size in _CONVERSATIONS:
        with TemporaryDirectory(prefix="growth-") as name, FakeServer(4, 0.005) as fake:
            folder = Path(name)
            with Store(folder / "shorthand.sqlite") as store, screen.bar(f"A store of {size}") as done:
                make_store(store, _MESSAGES * size, 2 * size, seed, done)
            with AppProcess(folder, "--model", str(model_dir), "--vllm-url", fake.url) as app:
                app.wait_for_page()
                httpx.get(app.url, timeout=60.0).raise_for_status()
                time.sleep(30.0)  # until both have looked at what there is, and loaded what finds it
                for which, pid in (("the app", app.process.pid), ("the trainer", _watch_of(app).pid)):
                    found[which][size] = round(psutil.Process(pid).memory_info().rss / 2**20)
    return found


def _watch_of(app: AppProcess) -> psutil.Process:
    """The process that trains by itself, or only keeps up to date what can be sent along."""
    for one in psutil.Process(app.process.pid).children(recursive=True):
        with suppress(psutil.ZombieProcess):
            words = one.cmdline()
            if "watch" in words and "assistant.supervisor" not in words:
                return one
    raise AppFailed("The app has started no trainer.")


def exponent(costs: Mapping[int, float]) -> float:
    """The slope of the logarithm of the cost over that of the size."""
    sizes, values = np.log([*costs]), np.log([*costs.values()])
    return round(float(np.polyfit(sizes, values, 1)[0]), 2)


def draw(lines: Mapping[str, Costs], path: Path) -> None:
    """A panel for each line, both axes in logarithms."""
    with matplotlib.rc_context({"font.size": 10, "text.color": INK, "axes.edgecolor": GRID}):
        figure = Figure(figsize=(10, 3.0 * ((len(lines) + 2) // 3)), facecolor=PAPER, layout="constrained")
        for place, (name, costs) in enumerate(lines.items(), start=1):
            axes = figure.add_subplot((len(lines) + 2) // 3, 3, place, facecolor=PAPER)
            axes.loglog([*costs], [*costs.values()], "o-", color=PINE)
            axes.set_title(f"{name}\nexponent {exponent(costs)}", loc="left", color=INK, fontsize=9)
            # So that what hardly grows looks flat.
            axes.set_ylim(min(costs.values()) / 3, 3 * max(costs.values()))
            axes.set_xticks([*costs], labels=[f"{size:,}" for size in costs])
            axes.minorticks_off()
            axes.grid(color=GRID)
            axes.tick_params(colors=SOFT, which="both")
        figure.savefig(path, dpi=150)


def main(
    task: Annotated[Path, typer.Option(help="A task file with at least 1,024 train questions.")],
    seed: int = 1,
    out: Path | None = None,
) -> None:
    """Measure how costs grow; it takes some 10 minutes. Beside OUT a picture is written."""
    screen, items = Screen(), load(task).train
    with TemporaryDirectory(prefix="growth-") as name:
        server = OwnServer(Path(name), None)
        lines = {"seconds of an epoch, by examples": training(server, items, Path(name) / "work", screen)}
        with server:
            lines["seconds of a gate, by questions"] = asyncio.run(gate(server, items, screen))
        lines["ms of a retrieval, by approved answers"] = retrieval(seed)
        for which, costs in memory(server.model_dir, seed, screen).items():
            lines[f"MiB of {which}, by conversations"] = costs
    for line, costs in lines.items():
        screen.say(f"{line}: {costs}, exponent {exponent(costs)}")
    rows = [{"line": line, "costs": costs, "exponent": exponent(costs)} for line, costs in lines.items()]
    write_result(out, "growth", seed, {"rows": rows})
    if out:
        draw(lines, out.with_suffix(".png"))


if __name__ == "__main__":
    typer.run(main)
