"""The simulated user: asks a task's questions through the real chat path, rates the answers and corrects some.

Everything but the ratings is real. The same seed gives the same questions and the same corrections.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from assistant.chat import Chat
from assistant.limits import ChatError
from assistant.vllm_pool import VllmPool
from benchmarks.serving import wait_until_healthy
from benchmarks.tasks.task import Item
from store import Store, StoreError
from store.records import Message, Verdict
from trainer.evaluation.scorers import Scorer, best

RATER = "simulated"
# The score from which an answer is good. Sentences can be said in many ways; the rest is right or wrong.
THRESHOLDS = {"exact": 1.0, "json": 1.0, "sql": 1.0, "chrf": 0.6, "bleu": 0.4, "judge": 0.7}
AT_ONCE = 16  # conversations at the same time, per server
_ROUNDING = 1e-9
_TRIES = 3


@dataclass(frozen=True)
class Opinion:
    """What the user thinks of an answer; `correction` is what they write instead, if they do."""

    verdict: Verdict
    score: float
    correction: str | None = None


@dataclass(frozen=True)
class User:
    """Rates up from `threshold` on, and corrects the share `corrects` of what is below it."""

    scorer: Scorer
    threshold: float
    corrects: float
    seed: int

    def rate(self, question_id: str, answer: str, references: Sequence[str]) -> Opinion:
        score = best(self.scorer, answer, references)
        if score >= self.threshold - _ROUNDING:
            return Opinion(Verdict.UP, score)
        takes_the_time = _draw(self.seed, question_id) < self.corrects
        return Opinion(Verdict.DOWN, score, references[0] if takes_the_time else None)


def threshold_of(scorer_name: str) -> float:
    """The threshold of a scorer by the name that an assistant has it under, such as sql:/path."""
    return THRESHOLDS[scorer_name.partition(":")[0]]


def _draw(seed: int, question_id: str) -> float:
    """A number from 0 to below 1 that looks random and depends on nothing else."""
    digest = hashlib.sha256(f"{seed}:{question_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) / 2**64


def rounds_of(train: Sequence[Item], ratings: int, rounds: int, seed: int) -> list[list[Item]]:
    """`ratings` questions in a seeded order, spread evenly; none comes again before all have been asked."""
    shuffle = random.Random(f"{seed}:train")
    questions: list[Item] = []
    while len(questions) < ratings:
        order = list(train)
        shuffle.shuffle(order)
        questions += order
    ends = [ratings * number // rounds for number in range(rounds + 1)]
    return [questions[start:end] for start, end in zip(ends, ends[1:], strict=False)]


def traffic_of(
    train: Sequence[Item], ratings: int, rounds: int, seed: int, per_rating: int
) -> list[list[Item]]:
    """For each round the questions that are asked and not rated: `per_rating` for each rating, none that is ever rated
    and none twice, so there are fewer where the task has not so many.
    """
    rated = {item.id for some in rounds_of(train, ratings, rounds, seed) for item in some}
    others = [item for item in train if item.id not in rated]
    random.Random(f"{seed}:traffic").shuffle(others)
    others = others[: ratings * per_rating]
    ends = [len(others) * number // rounds for number in range(rounds + 1)]
    return [others[start:end] for start, end in zip(ends, ends[1:], strict=False)]


def sample_of(test: Sequence[Item], size: int, seed: int) -> list[Item]:
    """`size` test items, in the file's order; all of them where there are not more."""
    if size >= len(test):
        return list(test)
    chosen = sorted(random.Random(f"{seed}:test").sample(range(len(test)), size))
    return [test[number] for number in chosen]


@dataclass(frozen=True)
class Asked:
    """What a round's questions came to; `failed` holds the reason of each that was given up.

    `unrated` were asked and left at that.
    """

    rated_up: int
    corrected: int
    rated_down_only: int
    mean_score: float | None
    failed: dict[str, str] = field(default_factory=dict)
    unrated: int = 0


class Conversations:
    """The simulated user's conversations with one assistant."""

    def __init__(self, store: Store, pool: VllmPool, chat: Chat, assistant_id: str, user: User):
        self._store, self._pool, self._chat = store, pool, chat
        self._assistant_id, self._user = assistant_id, user

    async def ask(
        self, items: Sequence[Item], traffic: Sequence[Item], progress: Callable[[int, int], None]
    ) -> Asked:
        """Ask all in a seeded order and rate `items`; one that fails three times is counted and left.

        Raises ScorerFailed.
        """
        rated = {item.id for item in items}
        every = [*items, *traffic]
        random.Random(f"{self._user.seed}:order").shuffle(every)
        slots = asyncio.Semaphore(AT_ONCE * len(self._pool.each()))
        failed: dict[str, str] = {}
        done = 0

        async def one(item: Item) -> Opinion | None:
            nonlocal done
            async with slots:
                opinion = await self._converse(item, item.id in rated, failed)
            done += 1
            progress(done, len(every))
            return opinion

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(item)) for item in every]
        except ExceptionGroup as failures:  # a judge that is away
            raise failures.exceptions[0] from failures
        opinions = [opinion for task in tasks if (opinion := task.result())]
        return _counts(opinions, failed, len(every) - len(opinions) - len(failed))

    async def _converse(self, item: Item, is_rated: bool, failed: dict[str, str]) -> Opinion | None:
        asked: Message | None = None
        for attempt in range(_TRIES):
            try:
                if asked is None:
                    asked = await asyncio.to_thread(
                        self._chat.ask, self._assistant_id, None, item.user, RATER
                    )
                async with aclosing(self._chat.answer(asked)) as steps:
                    async for step in steps:
                        answer = step.message
                return await asyncio.to_thread(self._rate, item, answer) if is_rated else None
            except (ChatError, StoreError) as error:
                failure = str(error)
            if attempt < _TRIES - 1:
                await wait_until_healthy(self._pool)
        failed[item.id] = failure
        return None

    def _rate(self, item: Item, answer: Message) -> Opinion:
        opinion = self._user.rate(item.id, answer.text, item.references)
        self._store.ratings.add(answer.id, RATER, opinion.verdict, correction=opinion.correction)
        return opinion


def _counts(opinions: Sequence[Opinion], failed: dict[str, str], unrated: int) -> Asked:
    corrected = sum(opinion.correction is not None for opinion in opinions)
    up = sum(opinion.verdict is Verdict.UP for opinion in opinions)
    scores = [opinion.score for opinion in opinions]
    mean = sum(scores) / len(scores) if scores else None
    return Asked(up, corrected, len(opinions) - up - corrected, mean, failed, unrated)


@dataclass(frozen=True)
class Judged:
    """The user's decisions about other answers to questions that were asked before: of so many questions, and how many
    answers were accepted.
    """

    asked: int
    accepted: int

    def __add__(self, other: Judged) -> Judged:
        return Judged(self.asked + other.asked, self.accepted + other.accepted)


def judge(
    store: Store, assistant_id: str, run_id: int, items: Sequence[Item], user: User, most: int
) -> Judged:
    """Decide a run's judgement requests about at most `most` questions."""
    by_question = {item.user: item for item in items}
    opened = [one for one in store.judgement_requests.open(assistant_id) if one.run_id == run_id]
    asked = list(dict.fromkeys(one.message_id for one in opened))[: max(0, most)]
    accepted = 0
    for request in (one for one in opened if one.message_id in asked):
        item = by_question[store.messages.branch(request.message_id)[-2].text]
        is_good = user.rate(item.id, request.text, item.references).verdict is Verdict.UP
        store.judgement_requests.choose([request.id], [request.id] if is_good else [], RATER)
        accepted += is_good
    return Judged(len(asked), accepted)
