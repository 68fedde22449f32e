"""What a person sends → an answer on its way, or an error that says why not.

In: a person, ids as the browser gave them, a text. Out: an `Answering`. All is checked before anything is stored:
whose conversation it is, whether the server is ready, how much this person has sent lately. Does not know Gradio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from assistant.chat import Chat
from assistant.web.access import Person
from assistant.web.answering import Answering, Answers
from assistant.web.own import OwnConversations
from assistant.web.rates import RateLimiter
from assistant.web.readiness import Readiness
from store import Store
from store.records import Message


class Asking:
    """Every method raises ChatError, StoreError or TooMany; nothing is stored then."""

    def __init__(
        self, store: Store, chat: Chat, answers: Answers, readiness: Readiness, limiter: RateLimiter
    ):
        self._store = store
        self._chat = chat
        self._answers = answers
        self._readiness = readiness
        self._limiter = limiter

    async def ask(
        self, person: Person, assistant_id: str | None, conversation_id: str | None, text: str
    ) -> Answering:
        """At the end of a conversation; without one, as the beginning of another."""

        def asked(own: OwnConversations) -> Message:
            here = own.conversation(conversation_id).id if conversation_id else None
            self._admit(person, here)
            return self._chat.ask(str(assistant_id), here, text, person.name)

        return await self._answer(person, assistant_id, asked)

    async def again(self, person: Person, assistant_id: str | None, answer_id: str) -> Answering:
        """A sampled version beside an answer."""

        def asked(own: OwnConversations) -> Message:
            question = own.message(str(own.message(answer_id).parent_id))
            self._admit(person, question.conversation_id)
            return question

        return await self._answer(person, assistant_id, asked, vary=True)

    async def edited(self, person: Person, assistant_id: str | None, message_id: str, text: str) -> Answering:
        """Another version of a message, beside it."""

        def asked(own: OwnConversations) -> Message:
            old = own.message(message_id)
            self._admit(person, old.conversation_id)
            return self._chat.edit(old.id, text)

        return await self._answer(person, assistant_id, asked)

    def _admit(self, person: Person, conversation_id: str | None) -> None:
        self._answers.refuse_while_busy(conversation_id)
        if person.signed_in:
            self._limiter.count_message(person.name)

    async def _answer(
        self,
        person: Person,
        assistant_id: str | None,
        asked: Callable[[OwnConversations], Message],
        vary: bool = False,
    ) -> Answering:
        self._readiness.refuse_until_ready(assistant_id)
        most = self._limiter.rates.streams if person.signed_in else None
        with self._answers.place(person.name, most):
            question = await asyncio.to_thread(asked, OwnConversations(self._store, person.name))
            return self._answers.start(question, person.name, vary=vary)
