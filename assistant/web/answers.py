"""Answers that are being written now, apart from the pages that watch them.

An answer goes on when its watcher leaves (reload, another conversation) and is there when the conversation is opened
again; only stop ends it early, by closing the stream to vLLM.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress

from assistant.chat import Chat, ChatError
from assistant.vllm_server import Phase
from assistant.web import words
from assistant.web.access import Person
from assistant.web.rates import RateLimiter
from assistant.web.services import Services
from assistant.web.user_conversations import UserConversations
from store.records import Message

_WATCH_EVERY_S = 0.1  # how often a watcher sees new text


class Answer:
    """One answer on its way."""

    def __init__(self, chat: Chat, question: Message, owner: str, vary: bool):
        self.question = question
        self.owner = owner
        self.text = ""
        self.not_saved = ""
        self.task = asyncio.create_task(self._write(chat, vary))

    async def _write(self, chat: Chat, vary: bool) -> None:
        async with aclosing(chat.answer(self.question, vary=vary)) as steps:
            async for step in steps:
                self.text, self.not_saved = step.message.text, step.not_saved

    async def watch(self) -> AsyncIterator[tuple[str, str]]:
        """The text, and why it is not saved yet, each time either has changed; raises ChatError when it failed."""
        shown = None
        while not self.task.done():
            if (self.text, self.not_saved) != shown:
                shown = (self.text, self.not_saved)
                yield shown
            await asyncio.wait({self.task}, timeout=_WATCH_EVERY_S)
        if not self.task.cancelled() and (error := self.task.exception()):
            raise error

    async def stop(self) -> None:
        """End it here; when this returns the text so far is stored, or kept until the store takes it."""
        self.task.cancel()
        with suppress(asyncio.CancelledError, ChatError):
            await self.task


class Answers:
    """The answers on their way, at most one in each conversation.

    `ask`, `regenerate` and `edit` check everything before anything is stored: whose conversation it is, whether the
    server is ready, how much this person has sent lately. They raise ChatError, StoreError or TooMany.
    """

    def __init__(self, services: Services, limiter: RateLimiter):
        self._services = services
        self._chat = services.chat
        self._limiter = limiter
        self._running: dict[str, Answer] = {}
        self._waiting: Counter[str] = Counter()  # by owner: places that are taken and not yet used

    async def ask(
        self, person: Person, assistant_id: str | None, conversation_id: str | None, text: str
    ) -> Answer:
        """At the end of a conversation; without one, as the beginning of another."""

        def question(own: UserConversations) -> Message:
            here = own.conversation(conversation_id).id if conversation_id else None
            self._admit(person, here)
            return self._chat.ask(str(assistant_id), here, text, person.name)

        return await self._start(person, assistant_id, question)

    async def regenerate(self, person: Person, assistant_id: str | None, answer_id: str) -> Answer:
        """A sampled version beside an answer."""

        def question(own: UserConversations) -> Message:
            found = own.message(str(own.message(answer_id).parent_id))
            self._admit(person, found.conversation_id)
            return found

        return await self._start(person, assistant_id, question, vary=True)

    async def edit(self, person: Person, assistant_id: str | None, message_id: str, text: str) -> Answer:
        """Another version of a message beside it, and its answer."""

        def question(own: UserConversations) -> Message:
            old = own.message(message_id)
            self._admit(person, old.conversation_id)
            return self._chat.edit(old.id, text)

        return await self._start(person, assistant_id, question)

    def running(self, conversation_id: str | None) -> Answer | None:
        return self._running.get(conversation_id or "")

    def refuse_while_busy(self, conversation_id: str | None) -> None:
        """Raises ChatError while an answer is on its way."""
        if self.running(conversation_id):
            raise ChatError("The last answer is still being written. Wait for it, or press Stop.")

    async def _start(
        self,
        person: Person,
        assistant_id: str | None,
        find_question: Callable[[UserConversations], Message],
        vary: bool = False,
    ) -> Answer:
        self._refuse_until_ready(assistant_id)
        with self._place(person):
            own = UserConversations(self._services.store, person.name)
            question = await asyncio.to_thread(find_question, own)
            self.refuse_while_busy(question.conversation_id)
            answer = Answer(self._chat, question, person.name, vary)
            self._running[question.conversation_id] = answer
            answer.task.add_done_callback(lambda _: self._running.pop(question.conversation_id, None))
            return answer

    def _admit(self, person: Person, conversation_id: str | None) -> None:
        self.refuse_while_busy(conversation_id)
        if person.signed_in:
            self._limiter.count_message(person.name)

    def _refuse_until_ready(self, assistant_id: str | None) -> None:
        if assistant_id is None:
            raise ChatError("There is no assistant yet. Load the sample, or write a prompt on its page.")
        state = self._services.server_state()
        if state.phase is not Phase.READY:
            raise ChatError(f"{words.server(state)}. Your message stays in the box until then.")

    @contextmanager
    def _place(self, person: Person) -> Iterator[None]:
        """Room for one more of this person's answers, to be started within the block. Raises ChatError."""
        name = person.name
        writing = sum(one.owner == name for one in self._running.values()) + self._waiting[name]
        if person.signed_in and writing >= self._limiter.rates.streams:
            raise ChatError(
                f"{writing} answers are being written for you already. Wait for one, or stop it; your text stays in "
                "the box."
            )
        self._waiting[name] += 1
        try:
            yield
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name]
