"""One loop on a task: ask and rate, retrain, measure, again, until every round is in the result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from assistant.adapter_files import BadAdapter, verify
from assistant.rendering import keep
from assistant.serving import MAX_RANK
from assistant.vllm_client import VllmError
from assistant.vllm_pool import VllmPool
from benchmarks.screen import Screen
from benchmarks.tasks.measurement import (
    Measurement,
    answer_limit,
    last_tested,
    measure,
    measured_record,
    run_record,
)
from benchmarks.tasks.result import LoopSettings, Result
from benchmarks.tasks.serving import Serving
from benchmarks.tasks.task import Task
from benchmarks.tasks.user import (
    Asked,
    Conversations,
    Judged,
    User,
    judge,
    rounds_of,
    sample_of,
    threshold_of,
)
from store import Store
from store.records import Deployment, TrainingRun
from trainer.deployment.latency import measure_latency
from trainer.evaluation.scorers import right_or_wrong, scorer
from trainer.examples.selection import select
from trainer.settings import TrainerSettings

OnProgress = Callable[[str], None]
Retrain = Callable[[str, str, OnProgress], TrainingRun]  # assistant id, trigger
Reevaluate = Callable[[str, OnProgress], TrainingRun | None]  # assistant id


@dataclass(frozen=True)
class Rounds:
    """`retrain` and `reevaluate` are the real trainer, handed in so that tests can use a smaller one."""

    task: Task
    settings: LoopSettings
    result: Result
    serving: Serving
    retrain: Retrain
    reevaluate: Reevaluate
    screen: Screen

    def run(self) -> None:
        """Every round that the result does not have yet."""
        self.serving.create_assistant(self.task, self._assistant_id)
        seconds: list[float] = []
        with asyncio.Runner() as runner:
            for number in range(len(self.result.rounds), self.settings.rounds + 1):
                began = time.monotonic()
                self.result.add_round(self._round(runner, number))
                if number > 0:  # the round before any training says nothing about those with one
                    seconds.append(time.monotonic() - began)
                self._print_round(number, seconds)
            runner.run(self._unload())
        self.result.body["finished"] = True
        self.result.save()

    @property
    def _store(self) -> Store:
        return self.serving.store

    @property
    def _assistant_id(self) -> str:
        return self.result.assistant_id

    def _round(self, runner: asyncio.Runner, number: int) -> dict[str, Any]:
        record: dict[str, Any] = {"round": number}
        run = None
        if number > 0:
            with self.result.timed(f"round {number}: ask"):
                judged = self._judge(number - 1)
                record["asked"] = asdict(runner.run(self._ask(number, judged.asked)))
            with self.result.timed(f"round {number}: train"):
                run = self._train(number)
                record["run"] = run_record(run)
            with self.result.timed(f"round {number}: reevaluate"):
                record["judged"] = asdict(self._judge(number))
                again = self._reevaluate(number)
                if again is not None:
                    record["reevaluation"], run = run_record(again), again
        approved, _ = select(
            self._store.answers.rated(self._assistant_id), TrainerSettings().max_answer_characters
        )
        record |= {"ratings": self._ratings(), "approved": len(approved)}
        active = self._active()
        with self.result.timed(f"round {number}: measure"):
            measured = runner.run(self._measure(number, run, active))
            record |= measured_record(
                measured, active, TrainerSettings().margin, right_or_wrong(self.task.scorer)
            )
        with self.result.timed(f"round {number}: probe"):
            record["first_token"] = runner.run(self._probe(active))
        return record

    @property
    def _user(self) -> User:
        s, name = self.settings, self.task.scorer
        return User(scorer(name), threshold_of(name), s.corrects, s.seed)

    def _judge(self, number: int) -> Judged:
        """Answer this round's judgement requests; each is a rating, and costs one of the next round."""
        asked = [run for run in self._store.runs.all(self._assistant_id) if run.trigger == _trigger(number)]
        if not asked:
            return Judged(0, 0)
        left = self.settings.ratings - self._ratings()
        return judge(self._store, self._assistant_id, asked[0].id, self.task.train, self._user, left)

    async def _ask(self, number: int, judged: int) -> Asked:
        """`judged` answers of the last candidate were ratings too; the last round keeps some for its own candidate."""
        s = self.settings
        questions = rounds_of(self.task.train, s.ratings, s.rounds, s.seed, self._assistant_id)[number - 1]
        kept_for_judging = 0 if right_or_wrong(self.task.scorer) else TrainerSettings().judgement_requests
        count = len(questions) - judged - (kept_for_judging if number == s.rounds else 0)
        async with self.serving.pool(self._assistant_id) as pool:
            conversations = Conversations(
                self._store, pool, self.serving.chat(pool), self._assistant_id, self._user
            )
            with self.screen.bar(f"Round {number}: asking and rating") as progress:
                return await conversations.ask(questions[: max(0, count)], progress)

    def _reevaluate(self, number: int) -> TrainingRun | None:
        with self.screen.status(f"Round {number}: evaluating the candidate again") as on_progress:
            run = self.reevaluate(self._assistant_id, on_progress)
        if run is not None:
            self.screen.say(f"Round {number}, re-evaluation: {run.status.value}. {run.message}")
        return run

    def _train(self, number: int) -> TrainingRun:
        with self.screen.status(f"Round {number}: retraining") as on_progress:
            run = self.retrain(self._assistant_id, _trigger(number), on_progress)
        self.screen.say(f"Round {number}: {run.status.value}. {run.message}")
        return run

    async def _measure(
        self, number: int, run: TrainingRun | None, active: Deployment
    ) -> dict[str, Measurement | None]:
        """The pairs that a reader compares; those that an earlier round measured are not asked again."""
        full = [segment.id for segment in self.task.prompt]
        measured: dict[str, Measurement | None] = {}
        async with self.serving.pool(self._assistant_id) as pool:
            for name, adapter, segment_ids in (
                ("base_full", None, full),
                ("base_empty", None, ()),
                ("base_variant", None, active.segment_ids),
                ("active", active.adapter, active.segment_ids),
            ):
                measured[name] = await self._measure_pair(
                    pool, f"Round {number}: {name}", adapter, segment_ids
                )
            if run is not None and run.adapter is not None:
                pairs = {"candidate_full": full, "candidate_variant": last_tested(run)}
                measured |= await self._measure_candidate(pool, number, run.adapter, pairs)
        return measured

    async def _measure_candidate(
        self, pool: VllmPool, number: int, adapter: str, pairs: Mapping[str, Sequence[str] | None]
    ) -> dict[str, Measurement | None]:
        """The new adapter with these parts of the prompt, also when the gate refused it: then it is loaded for this."""
        try:
            served = adapter in await pool.models()
            if not served:
                path = self.serving.adapters / adapter
                await asyncio.to_thread(verify, path, self.serving.base, MAX_RANK)
                await pool.load_adapter(adapter, str(path.resolve()))
        except (BadAdapter, VllmError) as error:
            self.screen.say(f"Round {number}: the new adapter cannot be measured. {error}")
            return dict.fromkeys(pairs)
        try:
            return {
                name: await self._measure_pair(pool, f"Round {number}: {name}", adapter, segment_ids)
                for name, segment_ids in pairs.items()
                if segment_ids is not None
            }
        finally:
            if not served:
                await pool.unload_adapter(adapter)

    async def _measure_pair(
        self, pool: VllmPool, title: str, adapter: str | None, segment_ids: Sequence[str]
    ) -> Measurement:
        if (known := self.result.measurement(adapter, segment_ids)) is not None:
            return known
        items = sample_of(self.task.test, self.settings.test, self.settings.seed)
        with self.screen.bar(title) as progress:
            measured = await measure(
                pool,
                self.serving.tokenizer,
                adapter,
                keep(self.task.prompt, segment_ids),
                items,
                scorer(self.task.scorer),
                answer_limit(self.serving.tokenizer, items, TrainerSettings().max_answer_tokens),
                progress,
            )
        self.result.add_measurement(measured)
        return measured

    async def _probe(self, active: Deployment) -> dict[str, Any] | None:
        """Time to the first token of the full and the active prompt; None where they are the same requests."""
        full = [segment.id for segment in self.task.prompt]
        if active.adapter is None and list(active.segment_ids) == full:
            return None
        question = sample_of(self.task.test, self.settings.test, self.settings.seed)[0].user
        variants = {"full": (None, full), "short": (active.adapter, active.segment_ids)}
        async with self.serving.pool(self._assistant_id) as pool:
            try:
                with self.screen.bar("Time to the first token") as progress:
                    return await measure_latency(
                        pool,
                        self.serving.tokenizer,
                        self.task.prompt,
                        {
                            name: (adapter or pool.base, segment_ids)
                            for name, (adapter, segment_ids) in variants.items()
                        },
                        question,
                        progress,
                    )
            except VllmError as error:
                self.screen.say(f"The time to the first token could not be measured. {error}")
                return None

    async def _unload(self) -> None:
        """Servers that go on after this loop keep nothing of it."""
        async with self.serving.pool(self._assistant_id) as pool:
            served = await pool.models()
            for adapter in self._store.adapters.all(self._assistant_id):
                if adapter.name in served:
                    await pool.unload_adapter(adapter.name)

    def _active(self) -> Deployment:
        active = self._store.deployments.active(self._assistant_id)
        if active is None:
            raise RuntimeError(f"Nothing is active for {self._assistant_id!r}; its prompt was never saved.")
        return active

    def _ratings(self) -> int:
        """Answers that the user has rated or judged."""
        store, name = self._store, self._assistant_id
        return len(store.answers.rated(name)) + len(store.judgement_requests.decided(name))

    def _print_round(self, number: int, seconds: Sequence[float]) -> None:
        record = self.result.rounds[-1]
        tokens, quality = record["prompt_tokens"], record["quality"]
        means = ", ".join(f"{name} {value['mean']:.3f}" for name, value in quality.items() if value)
        left = self.settings.rounds - number
        self.screen.say(
            f"Round {number} of {self.settings.rounds}: {record['ratings']} ratings, prompt "
            f"{tokens['full']} → {tokens['active']} tokens ({tokens['cut']:.0%} fewer), quality {means}."
            + (
                f" About {left * sum(seconds) / len(seconds) / 60:.0f} minutes left."
                if seconds and left
                else ""
            )
        )


def _trigger(number: int) -> str:
    return f"benchmark, round {number}"
