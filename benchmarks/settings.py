"""What training settings bring: a finished loop's frozen dataset trained with each, and test questions answered.

An adapter for each choice of settings; vLLM answers the same questions with each, under the protected segments alone.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks.record import Screen, write_result
from benchmarks.serving import OwnServer
from benchmarks.tasks.measurement import Measurement, answer_limit, measure
from benchmarks.tasks.rounds import task_record
from benchmarks.tasks.task import Item, Task, load
from benchmarks.tasks.user import sample_of
from store import Store
from store.records import TrainingRun
from trainer.candidate import build_job
from trainer.context import TrainingContext
from trainer.evaluation.scorers import right_or_wrong, scorer
from trainer.evaluation.statistics import Pairs, interval
from trainer.settings import TrainerSettings, override
from trainer.training.finetune import finetune
from trainer.training.publish import publish


def last_trained(store: Store) -> TrainingRun:
    """The newest run that trained an adapter, of the assistant that has one."""
    runs = (run for one in store.assistants.all() for run in store.runs.all(one.id))
    found = next((run for run in runs if run.dataset_id and store.runs.events(run.id, "train")), None)
    if found is None:
        raise typer.BadParameter("No run in this data directory has trained an adapter.")
    return found


@dataclass(frozen=True)
class Comparison:
    """Of choices of settings: what the `run` of a finished loop trained on, and test questions of its task."""

    context: TrainingContext
    run: TrainingRun
    task: Task
    items: Sequence[Item]
    screen: Screen

    def train(self, choices: Sequence[str], server: OwnServer, work_dir: Path) -> dict[str, Any]:
        """For each choice its adapter's name and what its training says."""
        found, dataset = dict[str, Any](), self.context.store.datasets.get(self.run.dataset_id or 0)
        for number, choice in enumerate(choices):
            settings = override(self.context.settings, choice.split(","))
            job = build_job(replace(self.context, settings=settings), dataset, work_dir / str(number))
            with self.screen.status(f"Training: {choice}") as show:
                trained = finetune(job, partial(_show_step, show))
            adapter = f"choice-{number}"
            publish(trained.model, server.adapters, adapter, self.context.base)
            dev = [entry["eval_loss"] for entry in trained.log if "eval_loss" in entry]
            found[choice] = {"adapter": adapter, "training": trained.as_record(), "dev_losses": dev}
        return found

    async def answer(self, server: OwnServer, trained: Mapping[str, Any]) -> dict[str, Measurement]:
        """The answers of each choice to the same questions, under the protected segments alone."""
        store, tokenizer, score = self.context.store, self.context.tokenizer, scorer(self.task.scorer)
        prompt_id = store.datasets.get(self.run.dataset_id or 0).prompt_id
        segments = [one for one in store.prompts.get(prompt_id).segments if one.protected]
        limit = answer_limit(tokenizer, self.items, self.context.settings.max_answer_tokens)
        pool, found = server.pool(), dict[str, Measurement]()
        try:
            for choice, one in trained.items():
                adapter = one["adapter"]
                await pool.load_adapter(adapter, str(server.adapters / adapter))
                with self.screen.bar(f"Test questions: {choice}") as progress:
                    found[choice] = await measure(
                        pool, tokenizer, adapter, segments, self.items, score, limit, progress
                    )
        finally:
            await pool.close()
        return found


def _show_step(show: Callable[[str], None], event: Mapping[str, Any]) -> None:
    show(f"step {event['step']} of {event['steps']}")


def compared(one: Measurement, other: Measurement, is_right_or_wrong: bool) -> dict[str, Any]:
    """The mean score of `one`, and its paired difference to `other` with a 95 % interval, in points."""
    both = [(a, b) for a, b in zip(one.scores, other.scores, strict=True) if a is not None and b is not None]
    scores, others = zip(*both, strict=True)
    pairs = Pairs(scores, others, range(len(both)), is_right_or_wrong)
    difference, reach = float(pairs.differences.mean()), 1.96 * pairs.error
    return {
        **asdict(interval(scores, range(len(both)))),
        "n": len(both),
        "difference": round(100 * difference, 1),
        "low_high": [round(100 * (difference - reach), 1), round(100 * (difference + reach), 1)],
    }


def main(
    task: Annotated[Path, typer.Option(help="The task file of the loop.")],
    data_dir: Annotated[Path, typer.Option(help="The data directory of a finished benchmarks.loop.")],
    choices: Annotated[
        list[str], typer.Argument(help="Settings, such as learning_rate=1e-3,examples_per_step=4.")
    ],
    test: Annotated[int, typer.Option(min=2, help="Test questions.")] = 200,
    seed: int = 1,
    out: Path | None = None,
) -> None:
    """Train on a loop's frozen dataset with the defaults and each choice of other settings, and measure."""
    screen, chosen = Screen(), load(task)
    with Store(data_dir / "shorthand.sqlite") as store, TemporaryDirectory(prefix="settings-") as aside:
        run = last_trained(store)
        context = TrainingContext.open(store, data_dir, TrainerSettings())
        server = OwnServer(Path(aside), str(context.model_dir))
        comparison = Comparison(context, run, chosen, sample_of(chosen.test, test, seed), screen)
        trained = comparison.train(choices, server, Path(aside) / "work")
        with server:
            measured = asyncio.run(comparison.answer(server, trained))
    is_apart = right_or_wrong(chosen.scorer)
    found = {name: compared(measured[name], measured[choices[0]], is_apart) for name in choices}
    screen.console.print(table_of(trained, found))
    rows = [{"choice": name, **trained[name], "quality": found[name]} for name in choices]
    write_result(out, "settings", seed, {"task": task_record(chosen), "run": run.id, "choices": rows})


def table_of(trained: Mapping[str, Any], found: Mapping[str, Any]) -> Table:
    table = Table("settings", "seconds", "dev", "quality")
    for name, one in trained.items():
        q = found[name]
        text = f"{q['mean']:.3f} ({q['difference']:+.1f}: {q['low_high'][0]} to {q['low_high'][1]})"
        table.add_row(name, str(one["training"]["seconds"]), f"{one['dev_losses'][-1]:.3f}", text)
    return table


if __name__ == "__main__":
    typer.run(main)
