"""Answers that are being written now, apart from the pages that watch them.

An answer goes on when its watcher leaves (reload, another conversation) and is there when the conversation is opened
again; only stop ends it early, by closing the stream to vLLM.
"""

import asyncio
import time
from asyncio import FIRST_COMPLETED
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, aclosing, suppress

from assistant.chat import Chat, Started
from assistant.incoming import place
from assistant.limits import ChatError
from assistant.sampling import GREEDY, Sampling, varied
from assistant.vllm_health import Phase
from assistant.web import words
from assistant.web.access import RECHECK_S, Person, Refused, Services
from assistant.web.user_conversations import UserConversations
from store import StoreError
from store.accounts import LOCAL
from store.records import Message

_WATCH_EVERY_S = 0.1  # how often a watcher sees new text
_SHOWN_A_SECOND = 100  # to all watchers together: each costs milliseconds, and clicks wait for them


class Answer:
    """One answer on its way."""

    watchers = 0  # of all answers

    def __init__(self, chat: Chat, started: Started, owner: str, sampling: Sampling, begun: str = ""):
        self.question = started.question
        self.owner = owner
        self.text = begun
        self.not_saved = ""
        self._first_words: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._write(chat, started, sampling, begun))

    async def _write(self, chat: Chat, started: Started, sampling: Sampling, begun: str) -> None:
        async with aclosing(chat.answer(started, sampling, begun)) as steps:
            async for step in steps:
                self.text, self.not_saved = step.message.text, step.not_saved
                if self.text and not self._first_words.done():
                    self._first_words.set_result(None)

    @property
    def state(self) -> tuple[str, str]:
        return self.text, self.not_saved

    async def watch(self, seen: tuple[str, str] | None = None) -> AsyncIterator[None]:
        """Yields where the state is not what was `seen`: the first words at once, then the more rarely the more people
        watch. Also at times where a model says nothing: whoever watches has to be allowed to still.
        """
        seen_at = time.monotonic()
        Answer.watchers += 1
        try:
            while not self.task.done():
                if self.state != seen or time.monotonic() - seen_at >= RECHECK_S:
                    seen, seen_at = self.state, time.monotonic()
                    yield
                if self.text:
                    rest = max(_WATCH_EVERY_S, Answer.watchers / _SHOWN_A_SECOND)
                    await asyncio.wait({self.task}, timeout=rest)
                else:
                    await asyncio.wait(
                        {self.task, self._first_words}, timeout=RECHECK_S, return_when=FIRST_COMPLETED
                    )
        finally:
            Answer.watchers -= 1

    def raise_failure(self) -> None:
        """Of an answer that is done: raises ChatError when it failed."""
        if not self.task.cancelled() and (error := self.task.exception()):
            raise error

    async def stop(self) -> None:
        """End it here; when this returns the text so far is stored, or kept until the store takes it."""
        await asyncio.sleep(0)  # its first step: a task that is cancelled before it would end nothing
        self.task.cancel()
        with suppress(asyncio.CancelledError, ChatError):
            await self.task


class Answers:
    """The answers on their way, at most one in each conversation."""

    def __init__(self, services: Services):
        self._services = services
        self._running: dict[str, Answer] = {}
        self._looking: asyncio.Task[None] | None = None
        self._writing: Counter[str] = Counter()  # by owner

    def running(self, conversation_id: str | None) -> Answer | None:
        return self._running.get(conversation_id or "")

    def refuse_while_busy(self, conversation_id: str | None) -> None:
        """Raises Refused while an answer is on its way."""
        if self.running(conversation_id):
            raise Refused("The last answer is still being written. Wait for it, or press Stop.")

    async def ask(
        self, person: Person, assistant_id: str | None, conversation_id: str | None, text: str
    ) -> Answer:
        """Ask at the end of a conversation, or of a new one. Raises as `_begin` does."""
        if assistant_id is None:
            raise Refused("There is no assistant yet. Load the sample, or write a prompt on its page.")

        def question() -> Message:
            if conversation_id:
                UserConversations(self._services.store, person.name).conversation(conversation_id)
            self._count(person, conversation_id)
            return self._services.chat.ask(assistant_id, conversation_id, text, person.name)

        return await self._begin(person, question)

    async def ask_again(
        self, person: Person, message_id: str, text: str | None = None, goes_on: bool = False
    ) -> Answer:
        """Another version of a message of the person's, which now says `text`; without it, of an answer: given again
        (sampled where what serves now has answered already), or going on where it was cut off. Raises as `_begin` does.
        """
        store = self._services.store
        own = UserConversations(store, person.name)
        found = await asyncio.to_thread(own.message, message_id)
        if goes_on and found.is_whole:
            raise Refused("This answer ended by itself. Ask for more in a message of your own.")

        def question() -> Message:
            self._count(person, found.conversation_id)
            if text is not None:
                return self._services.chat.edit(found.id, text)
            return own.message(str(found.parent_id))

        def answered() -> bool:
            active = store.deployments.active(store.conversations.get(found.conversation_id).assistant_id)
            return active is not None and active.id == found.deployment_id and bool(found.text)

        is_another = text is None and not goes_on and await asyncio.to_thread(answered)
        sampling = varied() if is_another else GREEDY
        return await self._begin(person, question, sampling, found.text if goes_on else "")

    async def _begin(
        self, person: Person, question: Callable[[], Message], sampling: Sampling = GREEDY, begun: str = ""
    ) -> Answer:
        """Everything is checked before anything is stored: whose conversation it is, whether the server is ready, how
        much this person has sent lately. Raises Refused, ChatError, StoreError.
        """
        state, name = self._services.server_state(), person.name
        if state.phase is not Phase.READY:
            raise Refused(f"{words.server(state)}. Your message stays in the box until then.")
        most = self._services.rates.streams
        text = f"{most} answers are being written for you already. Wait for one, or stop it; "
        too_many = Refused(f"{text}your text stays in the box.")
        with ExitStack() as writing:
            writing.enter_context(place(self._writing, name, most, too_many))
            started = await self._services.chat.start(question)
            here = started.question.conversation_id
            if self.running(here):  # asked in two tabs at the same moment
                await self._services.chat.abandon(started)
            self.refuse_while_busy(here)
            answer = self._running[here] = Answer(self._services.chat, started, name, sampling, begun)
            answer.task.add_done_callback(lambda _: self._running.pop(here, None))
            over = writing.pop_all()
            answer.task.add_done_callback(lambda _: over.close())
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._end_those_of_removed_users())
            return answer

    async def _end_those_of_removed_users(self) -> None:
        """An answer goes on when its watcher leaves, and not when its user is removed."""
        while self._running:
            await asyncio.sleep(RECHECK_S)
            with suppress(StoreError):
                if not await asyncio.to_thread(self._services.access.sign_in_required):
                    continue
                users = await asyncio.to_thread(self._services.store.users.all)
                names = {LOCAL, *(user.name for user in users)}
                for answer in [one for one in self._running.values() if one.owner not in names]:
                    await answer.stop()

    def _count(self, person: Person, conversation_id: str | None) -> None:
        self.refuse_while_busy(conversation_id)
        self._services.rates.count("messages", person)
