"""One variant of the trainer: trained on a task's ratings, measured by the real server, as a plain record.

In: a task, its ratings in the store, a variant. Out: what the training cost and what the adapter answers at both ends
of the ladder. Place in the flow: `ablation` tries one variant after the other. There is no gate: all are measured.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from assistant.rendering import keep
from assistant.serving import MAX_RANK
from benchmarks.records.peak_memory import forget_peak, peak_mib
from benchmarks.records.screen import Screen
from benchmarks.tasks.measure import Measurement, answer_limit, compare, measure
from benchmarks.tasks.serving import Serving
from benchmarks.tasks.task import Item, Task
from benchmarks.tasks.variants import Variant, examples_of
from benchmarks.tasks.whole_model import served, train_all
from store.records import Dataset
from trainer.candidate import make_course
from trainer.freezing import prepare
from trainer.learning.finetune import TrainingDiverged, finetune
from trainer.learning.publish import free_name, publish
from trainer.proof.scorers import right_or_wrong, scorer
from trainer.settings import TrainerSettings
from trainer.workshop import Workshop


@dataclass(frozen=True)
class Trial:
    """What all variants have in common; `seed` is that of the training."""

    task: Task
    items: Sequence[Item]
    serving: Serving
    screen: Screen
    seed: int

    def of_base(self, runner: asyncio.Runner) -> dict[str, Any]:
        """The base model, which every variant starts from, at both ends."""
        return self._record(runner.run(self._measure(self.serving, None, "base")))

    def of(self, runner: asyncio.Runner, name: str, variant: Variant) -> dict[str, Any]:
        """Train and measure; one that diverges says so. Raises VllmError, BadAdapter, StoreError, ScorerFailed."""
        settings = replace(TrainerSettings(seed=self.seed), **variant.changes)
        w = Workshop.open(self.serving.store, self.serving.data_dir, settings)
        unfrozen = prepare(w, self.task.id)
        answers = self.serving.store.rated_answers(self.task.id)
        examples = examples_of(variant, unfrozen.examples, answers, settings.seed)
        dataset = Dataset(0, self.task.id, unfrozen.intake.prompt_id, "ablation", 0.0, tuple(examples))
        adapter = free_name(w.adapters, f"{self.task.id}-{name.replace(' ', '-')}-seed{self.seed}")
        train = train_all if variant.whole else finetune
        with self.screen.status(f"{name}: training on {len(examples)} examples") as note:
            course = make_course(w, dataset, w.work_dir(adapter), settings.learning_rates[0])
            forget_peak()
            try:
                trained = train(course, lambda told: note(f"step {told['step']} of {told['steps']}"))
            except TrainingDiverged as error:
                return {"question": variant.question, "diverged": str(error)}
            finally:
                shutil.rmtree(course.work_dir, ignore_errors=True)
        memory = peak_mib()
        if variant.whole or settings.rank > MAX_RANK:
            with served(trained.model, w.model_dir, w.work_dir(f"{adapter}-served"), self.task) as serving:
                measured = runner.run(self._measure(serving, None, name))
        else:
            publish(trained.model, w.adapters, adapter, w.base)
            measured = runner.run(self._measure(self.serving, adapter, name))
        return {
            "question": variant.question,
            "changes": {key: list(v) if isinstance(v, tuple) else v for key, v in variant.changes.items()},
            "examples": len(examples),
            "row_tokens": sum(len(row.ids) for row in course.rows),
            "seconds": round(trained.seconds, 1),
            "steps": trained.steps,
            "resumed_at": trained.resumed_at,
            "tokens_per_s": round(trained.tokens_per_s),
            "peak_memory_mib": memory,
            "dev_loss": trained.dev_loss,
            "best_epoch": trained.curve.best_epoch,
            "stopped_early": trained.stopped_early,
            "preferences": trained.preferred.as_record() if trained.preferred else None,
        } | self._record(measured)

    async def _measure(self, serving: Serving, adapter: str | None, name: str) -> dict[str, Measurement]:
        task = self.task
        ends = {"shortest": [s.id for s in task.prompt if s.protected], "full": [s.id for s in task.prompt]}
        limit = answer_limit(serving.tokenizer, self.items, TrainerSettings().max_answer_tokens)
        measured = {}
        async with serving.pool(task.id) as pool:
            if adapter is not None:
                await pool.load_adapter(adapter, str((serving.adapters / adapter).resolve()))
            try:
                for end, kept in ends.items():
                    with self.screen.bar(f"{name}: {end} prompt") as progress:
                        measured[end] = await measure(
                            pool,
                            serving.tokenizer,
                            adapter,
                            keep(task.prompt, kept),
                            self.items,
                            scorer(task.scorer),
                            limit,
                            progress,
                        )
            finally:
                if adapter is not None:
                    await pool.unload_adapter(adapter)
        return measured

    def _record(self, measured: dict[str, Measurement]) -> dict[str, Any]:
        found = compare(
            measured["shortest"],
            measured["full"],
            TrainerSettings().margin,
            right_or_wrong(self.task.scorer),
        )
        quality = {end: m.quality() for end, m in measured.items()}
        return {
            "quality": {end: asdict(q) if q else None for end, q in quality.items()},
            "scores": {end: list(m.scores) for end, m in measured.items()},
            "shortest_less_full": asdict(found) if found else None,
        }
