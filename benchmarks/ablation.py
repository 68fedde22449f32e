"""`python -m benchmarks.ablation`: what each choice of the trainer brings, on one task and the same ratings.

In: a task file and a budget of ratings. Out: a JSON result with the quality of every variant at both ends of the
ladder, and a table beside it. The ratings are simulated as in `loop` and asked for once; every variant trains on them
with the trainer's own modules, and vLLM answers the test questions. There is no gate: all variants are measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from assistant.assistants import create_assistant
from assistant.rendering import keep
from benchmarks.app_process import AppProcess
from benchmarks.asking import Asking
from benchmarks.measure import Measurement, answer_limit, compare, measure
from benchmarks.person import Person, threshold_of
from benchmarks.provenance import provenance
from benchmarks.schedule import rounds_of, sample_of
from benchmarks.screen import Screen
from benchmarks.serving import Serving
from benchmarks.task import Task, TaskError, load
from benchmarks.variants import VARIANTS, Variant, examples_of
from store import Store
from store.errors import NotFound
from store.records import Dataset
from trainer.candidate import make_course
from trainer.finetune import TrainingDiverged, finetune
from trainer.freezing import prepare
from trainer.publish import publish
from trainer.scorers import right_or_wrong, scorer
from trainer.settings import TrainerSettings
from trainer.workshop import Workshop

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command(
    epilog="Example: python -m benchmarks.ablation --task shared/tasks/banking77.json --ratings 300 --test 150 "
    "--out benchmarks/results/ablation-banking77.json"
)
def main(
    task: Annotated[Path, typer.Option(help="A task file; a database it names lies beside it.")],
    out: Annotated[Path, typer.Option(help="The result; written after every variant.")],
    ratings: Annotated[int, typer.Option(min=60, help="Answers that the simulated person rates.")] = 300,
    test: Annotated[int, typer.Option(min=2, help="Test questions that measure each variant.")] = 150,
    seed: Annotated[
        int, typer.Option(help="Chooses questions and what is corrected; also of the training.")
    ] = 0,
    corrects: Annotated[float, typer.Option(min=0, max=1, help="Share of the bad answers corrected.")] = 0.75,
    only: Annotated[
        list[str] | None, typer.Option(help="This variant; may be repeated. Default: all.")
    ] = None,
) -> None:
    """Train the same ratings in different ways. The same command goes on where an interrupted one stopped."""
    unknown = set(only or ()) - set(VARIANTS)
    if unknown:
        _fail(f"There is no variant {sorted(unknown)[0]!r}. Choose from: {', '.join(VARIANTS)}.")
    try:
        loaded = load(task)
    except TaskError as error:
        _fail(str(error))
    body = json.loads(out.read_text()) if out.exists() else _new(loaded, ratings, test, seed, corrects)
    directory = out.with_suffix(".data").resolve()
    screen = Screen()
    with AppProcess(directory, "--no-trainer") as running, Store(directory / "shorthand.sqlite") as store:
        running.wait_for_page()
        running.wait_for_model()
        ablation = _Ablation(loaded, body, Serving(directory, store), screen)
        with asyncio.Runner() as runner:
            runner.run(ablation.ask())
            for name in only or VARIANTS:
                if name not in body["variants"]:
                    body["variants"][name] = ablation.train_and_measure(runner, name, VARIANTS[name])
                    _write(out, body)
                screen.say(_line(name, body))


class _Ablation:
    """One task with its ratings and a running server."""

    def __init__(self, task: Task, body: dict[str, Any], serving: Serving, screen: Screen):
        self._task, self._body, self._serving, self._screen = task, body, serving, screen
        self._settings = body["settings"]
        self._store = serving.store
        self._items = sample_of(task.test, self._settings["test"], self._settings["seed"])

    async def ask(self) -> None:
        """The ratings, unless an earlier start has them, and the base model's own quality."""
        s, task = self._settings, self._task
        try:
            self._store.assistant(task.id)
        except NotFound:
            create_assistant(
                self._store,
                self._serving.tokenizer,
                task.name,
                task.scorer,
                task.prompt,
                assistant_id=task.id,
            )
        person = Person(scorer(task.scorer), threshold_of(task.scorer), s["corrects"], s["seed"])
        questions = rounds_of(task.train, s["ratings"], 1, s["seed"], task.id)[0]
        async with self._serving.pool(task.id) as pool:
            asking = Asking(self._store, pool, self._serving.chat(pool), task.id, person)
            with self._screen.bar("Asking and rating") as progress:
                tally = await asking.ask(questions, progress)
        self._body["asked"] = asdict(tally)

    def train_and_measure(self, runner: asyncio.Runner, name: str, variant: Variant) -> dict[str, Any]:
        settings = replace(TrainerSettings(seed=self._settings["seed"]), **variant.changes)
        w = Workshop.open(self._store, self._serving.data_dir, settings)
        unfrozen = prepare(replace(w, settings=settings), self._task.id)
        answers = self._store.rated_answers(self._task.id)
        examples = examples_of(variant, unfrozen.examples, answers, settings.seed)
        dataset = Dataset(0, self._task.id, unfrozen.intake.prompt_id, "ablation", 0.0, tuple(examples))
        adapter = f"{self._task.id}-ablation-{list(VARIANTS).index(name):02}-seed{settings.seed}"
        work_dir = w.work_dir(adapter)
        shutil.rmtree(w.adapters / adapter, ignore_errors=True)
        with self._screen.status(f"{name}: training on {len(examples)} examples") as note:
            course = make_course(w, dataset, work_dir, settings.learning_rates[0])
            try:
                trained = finetune(course, lambda told: note(f"step {told['step']} of {told['steps']}"))
            except TrainingDiverged as error:
                return {"question": variant.question, "diverged": str(error)}
            finally:
                shutil.rmtree(work_dir, ignore_errors=True)
        publish(trained.model, w.adapters, adapter, w.base)
        measured = runner.run(self._measure(adapter, name))
        return {
            "question": variant.question,
            "changes": {key: list(v) if isinstance(v, tuple) else v for key, v in variant.changes.items()},
            "examples": len(examples),
            "row_tokens": sum(len(row.ids) for row in course.rows),
            "seconds": round(trained.seconds, 1),
            "tokens_per_s": round(trained.tokens_per_s),
            "dev_loss": trained.dev_loss,
            "best_epoch": trained.curve.best_epoch,
            "quality": {end: asdict(m.quality()) for end, m in measured.items() if m.quality()},  # type: ignore[call-overload]
            "scores": {end: list(m.scores) for end, m in measured.items()},
            "shortest_less_full": self._difference(measured["shortest"], measured["full"]),
        }

    async def _measure(self, adapter: str, name: str) -> dict[str, Measurement]:
        serving, task = self._serving, self._task
        ends = {"shortest": [s.id for s in task.prompt if s.protected], "full": [s.id for s in task.prompt]}
        limit = answer_limit(serving.tokenizer, self._items, TrainerSettings().max_answer_tokens)
        measured = {}
        async with serving.pool(task.id) as pool:
            await pool.load_adapter(adapter, str((serving.adapters / adapter).resolve()))
            try:
                for end, kept in ends.items():
                    segments = keep(task.prompt, kept)
                    with self._screen.bar(f"{name}: {end} prompt") as progress:
                        measured[end] = await measure(
                            pool,
                            serving.tokenizer,
                            adapter,
                            segments,
                            self._items,
                            scorer(task.scorer),
                            limit,
                            progress,
                        )
            finally:
                await pool.unload_adapter(adapter)
        return measured

    def _difference(self, one: Measurement, other: Measurement) -> dict[str, float] | None:
        found = compare(one, other, TrainerSettings().margin, right_or_wrong(self._task.scorer))
        return asdict(found) if found else None


def _new(task: Task, ratings: int, test: int, seed: int, corrects: float) -> dict[str, Any]:
    return {
        "benchmark": "ablation",
        "task": {"name": task.name, "sha256": task.sha256, "source": task.source, "license": task.license},
        "settings": {"ratings": ratings, "test": test, "seed": seed, "corrects": corrects},
        "defaults": TrainerSettings(seed=seed).as_record(),
        "provenance": provenance(f"python -m benchmarks.ablation {shlex.join(sys.argv[1:])}", seed),
        "variants": {},
    }


def _write(out: Path, body: dict[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")
    partial.write_text(json.dumps(body, indent=1) + "\n")
    os.replace(partial, out)
    lines = ["| variant | question | shortest prompt | full prompt | training |", "|---|---|---|---|---|"]
    lines += [_line(name, body) for name in body["variants"]]
    out.with_suffix(".md").write_text("\n".join(lines) + "\n")


def _line(name: str, body: dict[str, Any]) -> str:
    found = body["variants"][name]
    if "diverged" in found:
        return f"| {name} | {found['question']} | diverged | diverged | |"
    ends = [
        f"{q['mean']:.3f} ({q['low']:.3f}-{q['high']:.3f})"
        for q in (found["quality"]["shortest"], found["quality"]["full"])
    ]
    cost = f"{found['examples']} examples, {found['row_tokens']:,} tokens, {found['seconds']:.0f} s"
    return f"| {name} | {found['question']} | {ends[0]} | {ends[1]} | {cost} |"


def _fail(message: str) -> None:
    print(message, file=sys.stderr)
    raise typer.Exit(2)


if __name__ == "__main__":
    app()
