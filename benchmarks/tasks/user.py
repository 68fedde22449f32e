"""The simulated user: asks a task's questions through the real chat path, rates the answers and corrects some.

Everything but the ratings is real. The same seed gives the same questions and the same corrections, so that a run that
is taken up again continues with the same user; what the store has already is neither asked nor rated again.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from assistant.chat import Chat, ChatError
from assistant.vllm_pool import VllmPool
from benchmarks.tasks.serving import until_healthy
from benchmarks.tasks.task import Item
from store import Store, StoreError
from store.errors import NotFound
from store.records import Message, MessageStatus, Rating, Role, Verdict
from trainer.evaluation.scorers import Scorer, best

RATER = "simulated"
# The score from which an answer is good. Sentences can be said in many ways; the rest is right or wrong.
THRESHOLDS = {"exact": 1.0, "json": 1.0, "sql": 1.0, "chrf": 0.6, "bleu": 0.4, "judge": 0.7}
AT_ONCE = 16  # conversations at the same time, per server
_ROUNDING = 1e-9
_TRIES = 3


@dataclass(frozen=True)
class Question:
    """An item to ask, in a conversation of its own whose id is made from the item's."""

    conversation_id: str
    item: Item


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


def rounds_of(
    train: Sequence[Item], ratings: int, rounds: int, seed: int, assistant_id: str
) -> list[list[Question]]:
    """`ratings` questions in a seeded order, spread evenly; none comes again before all have been asked."""
    shuffle = random.Random(f"{seed}:train")
    questions: list[Question] = []
    turn = 0
    while len(questions) < ratings:
        turn += 1
        order = list(train)
        shuffle.shuffle(order)
        questions += [Question(f"{assistant_id}/{turn}/{item.id}", item) for item in order]
    ends = [ratings * number // rounds for number in range(rounds + 1)]
    return [questions[start:end] for start, end in zip(ends, ends[1:], strict=False)]


def sample_of(test: Sequence[Item], size: int, seed: int) -> list[Item]:
    """`size` test items, in the file's order; all of them where there are not more."""
    if size >= len(test):
        return list(test)
    chosen = sorted(random.Random(f"{seed}:test").sample(range(len(test)), size))
    return [test[number] for number in chosen]


@dataclass(frozen=True)
class Asked:
    """What a round's questions came to; `failed` holds the reason of each that was given up."""

    rated_up: int
    corrected: int
    rated_down_only: int
    mean_score: float | None
    failed: dict[str, str] = field(default_factory=dict)


class Conversations:
    """The simulated user's conversations with one assistant."""

    def __init__(self, store: Store, pool: VllmPool, chat: Chat, assistant_id: str, user: User):
        self._store, self._pool, self._chat = store, pool, chat
        self._assistant_id, self._user = assistant_id, user

    async def ask(self, questions: Sequence[Question], progress: Callable[[int, int], None]) -> Asked:
        """Ask and rate all; one that fails three times is counted and left. Raises ScorerFailed."""
        slots = asyncio.Semaphore(AT_ONCE * len(self._pool.each()))
        failed: dict[str, str] = {}
        done = 0

        async def one(question: Question) -> Opinion | None:
            nonlocal done
            async with slots:
                opinion = await self._converse(question, failed)
            done += 1
            progress(done, len(questions))
            return opinion

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(question)) for question in questions]
        except (
            ExceptionGroup
        ) as failures:  # a judge that is away: the others were stopped, and can go on later
            raise failures.exceptions[0] from failures
        return _counts([opinion for task in tasks if (opinion := task.result())], failed)

    async def _converse(self, question: Question, failed: dict[str, str]) -> Opinion | None:
        for attempt in range(_TRIES):
            try:
                answer = await self._answer(question)
                return await asyncio.to_thread(self._rate, question, answer)
            except (ChatError, StoreError) as error:
                failure = str(error)
            if attempt < _TRIES - 1:
                await until_healthy(self._pool)
        failed[question.item.id] = failure
        return None

    async def _answer(self, question: Question) -> Message:
        """The finished answer: the one that is stored already, else a new one."""
        asked, answered = await asyncio.to_thread(self._stored, question)
        if answered is not None:
            return answered
        async with aclosing(self._chat.answer(asked)) as steps:
            async for step in steps:
                message = step.message
        return message

    def _stored(self, question: Question) -> tuple[Message, Message | None]:
        """The user's message, and the answer to it if one was finished before this run was taken up again."""
        id, text = question.conversation_id, question.item.user
        try:
            self._store.conversations.get(id)
        except NotFound:
            self._store.conversations.create(
                self._assistant_id, " ".join(text.split())[:60], owner=RATER, id=id
            )
        thread = self._store.messages.thread(id)
        if not thread:
            return self._chat.ask(self._assistant_id, id, text, owner=RATER), None
        finished = [m for m in thread if m.role is Role.ASSISTANT and m.status is MessageStatus.COMPLETE]
        return thread[0], finished[-1] if finished else None

    def _rate(self, question: Question, answer: Message) -> Opinion:
        given = self._store.ratings.latest([answer.id]).get(answer.id)
        if given:
            return self._given(given[-1], question, answer)
        opinion = self._user.rate(question.item.id, answer.text, question.item.references)
        self._store.ratings.add(answer.id, RATER, opinion.verdict, correction=opinion.correction)
        return opinion

    def _given(self, rating: Rating, question: Question, answer: Message) -> Opinion:
        score = best(self._user.scorer, answer.text, question.item.references)
        return Opinion(rating.verdict or Verdict.DOWN, score, rating.correction)


def _counts(opinions: Sequence[Opinion], failed: dict[str, str]) -> Asked:
    corrected = sum(opinion.correction is not None for opinion in opinions)
    up = sum(opinion.verdict is Verdict.UP for opinion in opinions)
    scores = [opinion.score for opinion in opinions]
    mean = sum(scores) / len(scores) if scores else None
    return Asked(up, corrected, len(opinions) - up - corrected, mean, failed)


@dataclass(frozen=True)
class Judged:
    """The user's decisions about other answers to questions that were asked before."""

    asked: int
    accepted: int


def judge(
    store: Store, assistant_id: str, run_id: int, items: Sequence[Item], user: User, most: int
) -> Judged:
    """Decide at most `most` of a run's judgement requests; others were decided before a restart."""
    by_question = {item.user: item for item in items}
    opened = [
        judgement_request
        for judgement_request in store.judgement_requests.open(assistant_id)
        if judgement_request.run_id == run_id
    ]
    for judgement_request in opened[: max(0, most)]:
        item = by_question[store.messages.branch(judgement_request.message_id)[-2].text]
        opinion = user.rate(item.id, judgement_request.text, item.references)
        store.judgement_requests.decide([judgement_request.id], opinion.verdict is Verdict.UP, RATER)
    decided = [p for p in store.judgement_requests.decided(assistant_id) if p.run_id == run_id]
    return Judged(len(decided), sum(p.accepted is True for p in decided))
