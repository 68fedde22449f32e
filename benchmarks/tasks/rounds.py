"""One loop on a task: ask and rate, retrain, measure, again; one JSON file grows with each step."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from assistant.assistants import create_assistant
from assistant.rendering import keep
from assistant.retrieval import DEMONSTRATIONS
from assistant.vllm_client import VllmError
from benchmarks import record
from benchmarks.record import Screen
from benchmarks.serving import Serving
from benchmarks.tasks.measurement import (
    Measurement,
    answer_limit,
    copy_nearest,
    in_other_words,
    last_tested,
    measure,
    measured_record,
    run_record,
)
from benchmarks.tasks.task import Item, Task
from benchmarks.tasks.user import (
    Asked,
    Conversations,
    Judged,
    User,
    judge,
    rounds_of,
    sample_of,
    threshold_of,
    traffic_of,
)
from store.demonstrations import Demonstration
from store.records import Deployment, RunStatus, TrainingRun, Variant
from trainer.deployment.swap import measure_latency
from trainer.evaluation.gate import MOST_UNRATED
from trainer.evaluation.gate_requests import System
from trainer.evaluation.judgements import pending
from trainer.evaluation.scorers import right_or_wrong, scorer
from trainer.examples.selection import CollectedAnswer, select
from trainer.settings import TrainerSettings

# The real trainer, with these words of its command line; a function so that tests can use a smaller one.
RunTrainer = Callable[[str, Sequence[str], Callable[[str], None]], TrainingRun]
SIMULATED = (
    "The ratings are simulated: a program asked the task's train questions through the real chat path, rated each real "
    "answer by the task's scorer against the references, and corrected some of the bad ones with a reference. "
    "Everything else (server, trainer, gate, swap, measurements) is real."
)
_CORRECTED = 50  # corrected questions that are asked again, the newest


@dataclass(frozen=True)
class LoopSettings:
    """What a loop was asked to do; `corrects` is a share, None in `epochs` and `model` is the product's default."""

    ratings: int
    rounds: int
    test: int
    seed: int
    corrects: float
    traffic: int = 0  # unrated questions for each rating
    epochs: int | None = None
    model: str | None = None


class Rounds:
    """`body` is the result, which is written to `out` after every step; `origin` says where the numbers come from."""

    def __init__(
        self, task: Task, settings: LoopSettings, out: Path, origin: Mapping[str, Any], screen: Screen
    ):
        """Raises OSError where `out` cannot be written."""
        self._task, self._settings, self._out, self._screen = task, settings, out, screen
        self._full = tuple(segment.id for segment in task.prompt)
        self._items = sample_of(task.test, settings.test, settings.seed)
        self._user = User(scorer(task.scorer), threshold_of(task.scorer), settings.corrects, settings.seed)
        self._measured: dict[tuple[str | None, Variant, bool, int | None], Measurement] = {}
        # Servers that go on (--vllm-url) must never see an adapter's name twice: their prefix cache would mix the two.
        self.assistant_id = f"{task.id}-{secrets.token_hex(3)}"
        self.body: dict[str, Any] = {
            "benchmark": "loop",
            "ratings_are": SIMULATED,
            "task": task_record(task),
            "settings": asdict(settings),
            "test_ids": [item.id for item in self._items],
            "assistant_id": self.assistant_id,
            "finished": False,
            "seconds": {},
            "rounds": [],
            "measurements": [],
            "provenance": origin,
        }
        self._save()

    def run(self, serving: Serving, run_trainer: RunTrainer) -> None:
        """Raises VllmError, StoreError, ScorerFailed, RetrainFailed."""
        self._serving, self._store, self._run_trainer = serving, serving.store, run_trainer
        task = self._task
        create_assistant(
            self._store,
            serving.tokenizer,
            task.name,
            task.scorer,
            task.prompt,
            assistant_id=self.assistant_id,
        )
        judged, began = Judged(0, 0), time.monotonic()
        with asyncio.Runner() as runner:
            self._pool = runner.run(serving.pool())
            for number in range(self._settings.rounds + 1):
                round_: dict[str, Any] = {"round": number}
                run = None
                if number > 0:
                    with self.timed(f"round {number}: ask"):
                        round_["asked"] = asdict(runner.run(self._ask(number, judged.asked)))
                    run, judged = self._retrain(number, round_)
                runner.run(self._measure_round(round_, run))
                self.body["rounds"].append(round_)
                self._save()
                self._print_round(round_, time.monotonic() - began)
            runner.run(self._unload())
        self.body["finished"] = True
        self._save()

    async def _ask(self, number: int, judged: int) -> Asked:
        """`judged` answers of the last candidate were ratings too; the last round keeps some for its own candidate."""
        s = self._settings
        questions = rounds_of(self._task.train, s.ratings, s.rounds, s.seed)[number - 1]
        traffic = traffic_of(self._task.train, s.ratings, s.rounds, s.seed, s.traffic)[number - 1]
        kept = 0 if right_or_wrong(self._task.scorer) else TrainerSettings().judgement_requests
        count = len(questions) - judged - (kept if number == s.rounds else 0)
        chat = self._serving.chat(self._pool)
        conversations = Conversations(self._store, self._pool, chat, self.assistant_id, self._user)
        with self._screen.bar(f"Round {number}: asking and rating") as progress:
            return await conversations.ask(questions[: max(0, count)], traffic, progress)

    def _retrain(self, number: int, round_: dict[str, Any]) -> tuple[TrainingRun, Judged]:
        """Train; answer the judgement requests and let the candidate be evaluated again, as often as it asks.

        Where answers are graded, each is one of the `ratings`; where they are right or wrong, they are counted apart.
        """
        more = [] if self._settings.epochs is None else ["--epochs", str(self._settings.epochs)]
        words = ["once", "--trigger", f"benchmark, round {number}", *more]
        with self.timed(f"round {number}: train"):
            run = self._run_once(f"Round {number}: retraining", words)
        round_["run"] = run_record(run)
        with self.timed(f"round {number}: reevaluate"):
            judged = self._judge(run)
            while pending(self._store, self.assistant_id) is not None:
                again = self._run_once(f"Round {number}: evaluating the candidate again", ["reevaluate"])
                judged += self._judge(again)
                # After a promotion a shorter prompt is tried; where that is refused, what was promoted stays.
                if again.status is RunStatus.PROMOTED or run.status is not RunStatus.PROMOTED:
                    run, round_["reevaluation"] = again, run_record(again)
            round_["judged"] = asdict(judged)
        return run, Judged(0, 0) if right_or_wrong(self._task.scorer) else judged

    def _judge(self, run: TrainingRun) -> Judged:
        is_apart = right_or_wrong(self._task.scorer)
        left = MOST_UNRATED if is_apart else self._settings.ratings - self._ratings()
        return judge(self._store, self.assistant_id, run.id, self._task.train, self._user, left)

    def _run_once(self, title: str, words: Sequence[str]) -> TrainingRun:
        with self._screen.status(title) as on_progress:
            run = self._run_trainer(self.assistant_id, words, on_progress)
        self._screen.say(f"{title}: {run.status.value}. {run.message}")
        return run

    async def _measure_round(self, round_: dict[str, Any], run: TrainingRun | None) -> None:
        number, settings = round_["round"], TrainerSettings()
        rated = self._store.answers.rated(self.assistant_id)
        approved, _ = select(rated, settings.max_answer_characters)
        round_ |= {"ratings": self._ratings(), "approved": len(approved)}
        active = self._store.deployments.active(self.assistant_id)
        assert active is not None, "an assistant begins with its whole prompt"
        with self.timed(f"round {number}: measure"):
            measured = await self._measure(number, run, active)
            round_ |= measured_record(measured, active, settings.margin, right_or_wrong(self._task.scorer))
        with self.timed(f"round {number}: probe"):
            round_["first_token"] = await self._measure_latency(active)
        with self.timed(f"round {number}: corrections"):
            round_["corrections"] = await self._measure_corrections(number, active, approved)

    async def _measure(
        self, number: int, run: TrainingRun | None, active: Deployment
    ) -> dict[str, Measurement]:
        """The pairs that a reader compares; those that an earlier round measured are not asked again."""
        pairs: dict[str, tuple[str | None, Variant]] = {
            "base_full": (None, Variant(self._full)),
            "base_empty": (None, Variant(())),
            "base_demonstrations": (None, Variant((), DEMONSTRATIONS)),
        }
        measured: dict[str, Measurement] = {}
        for name, pair in pairs.items():
            measured[name] = await self._measure_pair(f"Round {number}: {name}", number, *pair)
        sent = Variant(active.segment_ids, active.demonstrations, active.copy_at)
        measured["active"] = await self._measure_pair(
            f"Round {number}: active", number, active.adapter, sent, active
        )
        if number:
            nearest = partial(self._serving.retriever.nearest, self.assistant_id, most=1)
            measured["nearest_copied"] = await asyncio.to_thread(
                copy_nearest, self._items, self._user.scorer, nearest
            )
        if run is not None and run.adapter is not None:
            measured |= await self._measure_candidate(number, run.adapter, last_tested(run))
        return measured

    async def _measure_candidate(
        self, number: int, adapter: str, tested: Variant | None
    ) -> dict[str, Measurement]:
        """The new adapter alone, with demonstrations, with the full prompt and with the last tested variant; one that
        was refused is loaded for this.
        """
        pairs = {
            "candidate_full": Variant(self._full),
            "candidate_empty": Variant(()),
            "candidate_demonstrations": Variant((), DEMONSTRATIONS),
        }
        pairs |= {"candidate_variant": tested} if tested is not None else {}
        is_served = adapter in await self._pool.models()
        if not is_served:
            await self._pool.load_adapter(adapter, str((self._serving.adapters / adapter).resolve()))
        measured = {
            name: await self._measure_pair(f"Round {number}: {name}", number, adapter, variant)
            for name, variant in pairs.items()
        }
        if not is_served:
            await self._pool.unload_adapter(adapter)
        return measured

    async def _measure_pair(
        self,
        title: str,
        number: int,
        adapter: str | None,
        sent: Variant,
        deployment: Deployment | None = None,
    ) -> Measurement:
        """What was measured before is not asked again; with demonstrations, only of the same round.

        With a deployment, as it is served: also with what was approved since.
        """
        retriever = self._serving.retriever

        def retrieve(question: str) -> Sequence[Demonstration]:
            if deployment is not None:
                return retriever.for_deployment(deployment, question)
            return retriever.nearest(self.assistant_id, question, sent.demonstrations)

        shows_new = deployment is not None and number > 0 and not sent.demonstrations
        grows = sent.demonstrations or shows_new or sent.copy_at is not None
        pair = (adapter, sent, shows_new, number if grows else None)
        if pair not in self._measured:
            run_id = deployment.run_id if deployment else None
            self._measured[pair] = await self._answered(title, adapter, sent, retrieve, self._items, run_id)
            self.body["measurements"].append(asdict(self._measured[pair]))
            self._save()
        return self._measured[pair]

    async def _answered(
        self,
        title: str,
        adapter: str | None,
        sent: Variant,
        retrieve: Callable[[str], Sequence[Demonstration]],
        items: Sequence[Item],
        run_id: int | None,
    ) -> Measurement:
        tokenizer, prompt_id = self._serving.tokenizer, self._store.prompts.latest(self.assistant_id).id
        copies = System(title, "", (), prompt_id=prompt_id, copy_at=sent.copy_at, run_id=run_id)
        with self._screen.bar(title) as progress:
            return await measure(
                self._pool,
                tokenizer,
                adapter,
                keep(self._task.prompt, sent.segment_ids),
                items,
                self._user.scorer,
                answer_limit(tokenizer, items, TrainerSettings().max_answer_tokens),
                progress,
                retrieve,
                sent.demonstrations,
                partial(self._serving.retriever.copied, copies),
            )

    async def _measure_corrections(
        self, number: int, active: Deployment, approved: Sequence[CollectedAnswer]
    ) -> dict[str, int] | None:
        """How many corrected questions, asked again in other words, get a right answer; None where there are none."""
        corrected = [(one.context[-1][1], one.completion) for one in approved if one.corrected]
        asked = {one.context[-1][1] for one in self._store.answers.rated(self.assistant_id)}
        asked |= {one.user for one in self._items}
        spared = [one for one in (*self._task.train, *self._task.test) if one.user not in asked]
        items = in_other_words(self._serving.retriever.embedder, corrected[-_CORRECTED:], spared)
        if not items:
            return None
        sent = Variant(active.segment_ids, active.demonstrations, active.copy_at)
        retrieve = partial(self._serving.retriever.for_deployment, active)
        title = f"Round {number}: corrected questions, asked in other words"
        found = await self._answered(title, active.adapter, sent, retrieve, items, active.run_id)
        return {"asked": len(items), "right": sum(score == 1.0 for score in found.scores)}

    async def _measure_latency(self, active: Deployment) -> dict[str, Any] | None:
        """Time to the first token of the full and the active prompt; None where they are the same requests, or most
        questions do not reach the model.
        """
        if active.copy_at is not None or (active.adapter is None and active.segment_ids == self._full):
            return None
        base = self._pool.base
        variants = {"full": (base, self._full), "short": (active.adapter or base, active.segment_ids)}
        question, tokenizer = self._items[0].user, self._serving.tokenizer
        try:
            with self._screen.bar("Time to the first token") as progress:
                return await measure_latency(
                    self._pool, tokenizer, self._task.prompt, variants, question, progress
                )
        except VllmError as error:
            self._screen.say(f"The time to the first token could not be measured. {error}")
            return None

    async def _unload(self) -> None:
        """Servers that go on after this loop keep nothing of it."""
        served = await self._pool.models()
        for adapter in self._store.adapters.all(self.assistant_id):
            if adapter.name in served:
                await self._pool.unload_adapter(adapter.name)
        await self._pool.close()

    def _ratings(self) -> int:
        """Answers that the user has rated or, where they are graded, judged."""
        store, name = self._store, self.assistant_id
        judged = 0 if right_or_wrong(self._task.scorer) else len(store.judgement_requests.decided(name))
        return len(store.answers.rated(name)) + judged

    def _print_round(self, round_: Mapping[str, Any], seconds: float) -> None:
        tokens, rounds, number = round_["prompt_tokens"], self._settings.rounds, round_["round"]
        means = ", ".join(f"{name} {q['mean']:.3f}" for name, q in round_["quality"].items() if q)
        left = (
            f" About {(rounds - number) * seconds / number / 60:.0f} minutes left."
            if 0 < number < rounds
            else ""
        )
        self._screen.say(
            f"Round {number} of {rounds}: {round_['ratings']} ratings, prompt {tokens['full']} → "
            f"{tokens['active']} tokens ({tokens['cut']:.0%} fewer), quality {means}.{left}"
        )

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.body["seconds"][phase] = round(time.monotonic() - started, 1)
            self._save()

    def _save(self) -> None:
        record.write(self._out, self.body)


def task_record(task: Task) -> dict[str, Any]:
    """Which task it was."""
    return {
        "name": task.name,
        "sha256": task.sha256,
        "source": task.source,
        "license": task.license,
        # Without the path of a database, which is another one on every machine.
        "scorer": "sql" if task.scorer.startswith("sql:") else task.scorer,
        "train": len(task.train),
        "test": len(task.test),
        "train_questions_left_out_as_they_are_in_test": task.left_out,
    }
