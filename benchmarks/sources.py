"""What each source of training examples brings: a finished loop's approved answers trained with and without it.

An adapter for each choice, of the same frozen dataset; vLLM answers the same test questions with each, alone and with
approved answers before the question.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.table import Table

from assistant.retrieval import DEMONSTRATIONS
from assistant.vllm_pool import VllmPool
from benchmarks.record import Screen, write_result
from benchmarks.serving import OwnServer
from benchmarks.tasks.measurement import Measurement, answer_limit, measure
from benchmarks.tasks.rounds import task_record
from benchmarks.tasks.task import Task, load
from benchmarks.tasks.user import sample_of
from store import Store
from store.records import Dataset, Example, Split, TrainingRun
from trainer.candidate import in_split
from trainer.context import TrainingContext
from trainer.evaluation.scorers import right_or_wrong, scorer
from trainer.evaluation.statistics import Pairs, interval
from trainer.examples.demonstrations import nearest_train_examples
from trainer.settings import TrainerSettings
from trainer.training.finetune import TrainingJob, finetune
from trainer.training.publish import publish
from trainer.training.rows import dev_rows, train_rows

APPROVED, BEFORE, SURE, ALIKE = (
    "approved",
    "approved answers before them",
    "unrated answers",
    "like questions",
)
ALL = "all of it"
CHOICES = {
    ALL: {BEFORE, SURE, ALIKE},
    "approved answers alone": set[str](),
    "with approved answers before them": {BEFORE},
    "with unrated answers that the model was sure of": {SURE},
    "with approved answers to like questions": {ALIKE},
}
WAYS = {"nothing before the question": 0, "five approved answers before it": DEMONSTRATIONS}


def last_trained(store: Store) -> TrainingRun:
    """The newest run that trained an adapter, of the assistant that has one."""
    runs = (run for one in store.assistants.all() for run in store.runs.all(one.id))
    found = next((run for run in runs if run.dataset_id and store.runs.events(run.id, "train")), None)
    if found is None:
        raise typer.BadParameter("No run in this data directory has trained an adapter.")
    return found


def source_of(store: Store, example: Example) -> str | None:
    """None for what people approved of."""
    if example.approved:
        return None
    return SURE if store.messages.get(example.message_id).text == example.completion else ALIKE


def job_of(
    context: TrainingContext, dataset: Dataset, examples: Sequence[Example], before: bool, work_dir: Path
) -> TrainingJob:
    """As `trainer.candidate.build_job`, of these train examples."""
    segments = context.store.prompts.get(dataset.prompt_id).segments
    count = DEMONSTRATIONS if before else 0
    shown = nearest_train_examples(context.retriever.embedder, dataset.examples, count)
    rows, ends = train_rows(context.tokenizer, segments, examples, context.settings, shown)
    dev = dev_rows(context.tokenizer, segments, in_split(dataset, Split.DEV))
    return TrainingJob(context.model_dir, rows, ends, dev, context.settings, work_dir, shown=shown)


class Comparison:
    """Of one finished loop: what its `run` trained on, and the questions of its task."""

    def __init__(
        self, context: TrainingContext, run: TrainingRun, task: Task, test: int, seed: int, screen: Screen
    ):
        self._context, self._run, self._task, self._screen = context, run, task, screen
        self._dataset = context.store.datasets.get(run.dataset_id or 0)
        self._items = sample_of(task.test, test, seed)

    def train(self, server: OwnServer, work_dir: Path) -> dict[str, Any]:
        """For each choice that differs, by what the dataset has: its adapter's name, the examples, and the cost."""
        train = in_split(self._dataset, Split.TRAIN)
        sources = {one.message_id: source_of(self._context.store, one) for one in train}
        there, found = {BEFORE, *sources.values()}, dict[str, Any]()
        choices = {frozenset(chosen & there): name for name, chosen in reversed(CHOICES.items())}
        for number, (chosen, name) in enumerate(reversed(choices.items())):
            examples = [one for one in train if sources[one.message_id] in (None, *chosen)]
            job = job_of(self._context, self._dataset, examples, BEFORE in chosen, work_dir / str(number))
            with self._screen.status(f"Training: {name}") as show:
                trained = finetune(job, partial(_show_step, show))
            adapter = f"choice-{number}"
            publish(trained.model, server.adapters, adapter, self._context.base)
            counts = Counter(sources[one.message_id] or APPROVED for one in examples)
            found[name] = {"adapter": adapter, "examples": counts, "training": trained.as_record()}
        return found

    async def answer(
        self, server: OwnServer, trained: Mapping[str, Any]
    ) -> dict[str, dict[str, Measurement]]:
        """For each choice its answers to the test questions, without approved answers before them and with five."""
        pool = server.pool()
        try:
            for one in trained.values():
                await pool.load_adapter(one["adapter"], str(server.adapters / one["adapter"]))
            return {
                name: {way: await self._measured(pool, one["adapter"], n) for way, n in WAYS.items()}
                for name, one in trained.items()
            }
        finally:
            await pool.close()

    async def _measured(self, pool: VllmPool, adapter: str, demonstrations: int) -> Measurement:
        context, assistant = self._context, self._run.assistant_id
        segments = context.store.prompts.get(self._dataset.prompt_id).segments
        with self._screen.bar(f"Test questions: {adapter}, {demonstrations} answers before each") as progress:
            return await measure(
                pool,
                context.tokenizer,
                adapter,
                [one for one in segments if one.protected],
                self._items,
                scorer(self._task.scorer),
                answer_limit(context.tokenizer, self._items, context.settings.max_answer_tokens),
                progress,
                partial(context.retriever.nearest, assistant, most=demonstrations),
                demonstrations,
            )


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
    test: Annotated[int, typer.Option(min=2, help="Test questions.")] = 200,
    seed: int = 1,
    out: Path | None = None,
) -> None:
    """Train on a loop's approved answers with and without each further source, and measure."""
    screen, chosen = Screen(), load(task)
    with Store(data_dir / "shorthand.sqlite") as store, TemporaryDirectory(prefix="sources-") as aside:
        run = last_trained(store)
        context = TrainingContext.open(store, data_dir, TrainerSettings.from_record(run.settings))
        comparison = Comparison(context, run, chosen, test, seed, screen)
        server = OwnServer(Path(aside), str(context.model_dir))
        trained = comparison.train(server, Path(aside) / "work")
        with server:
            measured = asyncio.run(comparison.answer(server, trained))
    is_apart = right_or_wrong(chosen.scorer)
    results = {
        name: {way: compared(found, measured[ALL][way], is_apart) for way, found in measured[name].items()}
        for name in trained
    }
    screen.console.print(table_of(trained, results))
    choices = [{"choice": name, **trained[name], "quality": results[name]} for name in trained]
    write_result(out, "sources", seed, {"task": task_record(chosen), "run": run.id, "choices": choices})


def table_of(trained: Mapping[str, Any], results: Mapping[str, Any]) -> Table:
    table = Table("trained on", "examples", "seconds", *WAYS)
    for name, one in trained.items():
        means = (
            f"{q['mean']:.3f} ({q['difference']:+.1f}: {q['low_high'][0]} to {q['low_high'][1]})"
            for q in results[name].values()
        )
        table.add_row(name, str(sum(one["examples"].values())), str(one["training"]["seconds"]), *means)
    return table


if __name__ == "__main__":
    typer.run(main)
