"""Questions to rated answers in the store, through the chat path that the page uses.

In: a chat, a round's questions, the simulated person. Out: a Tally of what was rated. What the store has already is
neither asked nor rated again. Only the person is simulated: asking, streaming and storing are the product's own. Does
not know rounds or training.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from assistant.chat import Chat, ChatError
from assistant.vllm_pool import VllmPool
from benchmarks.tasks.person import RATER, Opinion, Person
from benchmarks.tasks.schedule import Question
from benchmarks.tasks.serving import until_healthy
from store import Store, StoreError
from store.errors import NotFound
from store.records import Message, MessageStatus, Rating, Role, Verdict
from trainer.proof.approvals import best

AT_ONCE = 16  # conversations at the same time, per server
_TRIES = 3


@dataclass(frozen=True)
class Tally:
    """What a round's questions came to; `failed` holds the reason of each that was given up."""

    up: int
    corrected: int
    down: int  # rated down and not corrected
    mean_score: float | None
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def rated(self) -> int:
        return self.up + self.corrected + self.down


class Asking:
    """The simulated person's conversations with one assistant."""

    def __init__(self, store: Store, pool: VllmPool, chat: Chat, assistant_id: str, person: Person):
        self._store, self._pool, self._chat = store, pool, chat
        self._assistant_id, self._person = assistant_id, person

    async def ask(self, questions: Sequence[Question], progress: Callable[[int, int], None]) -> Tally:
        """Ask and rate all; one that fails three times is counted and left. Raises ScorerFailed."""
        slots = asyncio.Semaphore(AT_ONCE * self._pool.size)
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
        ) as failures:  # such as a judge that is away: the others were stopped, and can go on later
            raise failures.exceptions[0] from failures
        return _tally([opinion for task in tasks if (opinion := task.result())], failed)

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
        """The person's message, and the answer to it if one was finished before this run was taken up again."""
        id, text = question.conversation_id, question.item.user
        try:
            self._store.conversation(id)
        except NotFound:
            self._store.create_conversation(
                self._assistant_id, " ".join(text.split())[:60], owner=RATER, id=id
            )
        thread = self._store.thread(id)
        if not thread:
            return self._chat.ask(self._assistant_id, id, text, owner=RATER), None
        finished = [m for m in thread if m.role is Role.ASSISTANT and m.status is MessageStatus.COMPLETE]
        return thread[0], finished[-1] if finished else None

    def _rate(self, question: Question, answer: Message) -> Opinion:
        given = self._store.latest_ratings([answer.id]).get(answer.id)
        if given:
            return self._remembered(given[-1], question, answer)
        opinion = self._person.rate(question.item.id, answer.text, question.item.references)
        self._store.rate(answer.id, RATER, opinion.verdict, correction=opinion.correction)
        return opinion

    def _remembered(self, rating: Rating, question: Question, answer: Message) -> Opinion:
        score = best(self._person.scorer, answer.text, question.item.references)
        return Opinion(rating.verdict or Verdict.DOWN, score, rating.correction)


def _tally(opinions: Sequence[Opinion], failed: dict[str, str]) -> Tally:
    corrected = sum(opinion.correction is not None for opinion in opinions)
    up = sum(opinion.verdict is Verdict.UP for opinion in opinions)
    scores = [opinion.score for opinion in opinions]
    mean = sum(scores) / len(scores) if scores else None
    return Tally(up, corrected, len(opinions) - up - corrected, mean, failed)
