"""Answers that are being written now, apart from the pages that watch them.

In: a stored question. Out: the text so far, about ten times a second, to any number of watchers. An answer
goes on when its watcher leaves (reload, another conversation) and comes back when the conversation is
opened again; only stop ends it early, by closing the stream to vLLM. Does not know Gradio.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager, suppress

from assistant.chat import Chat, ChatError
from store.records import Message

_LOOK_S = 0.1  # how often a watcher sees new text


class Answering:
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
            await asyncio.wait({self.task}, timeout=_LOOK_S)
        if not self.task.cancelled() and (error := self.task.exception()):
            raise error

    async def stop(self) -> None:
        """End it here; when this returns the text so far is stored, or kept until the store takes it."""
        self.task.cancel()
        with suppress(asyncio.CancelledError, ChatError):
            await self.task


class Answers:
    """The answers on their way, at most one in each conversation."""

    def __init__(self, chat: Chat):
        self._chat = chat
        self._running: dict[str, Answering] = {}
        self._waiting: Counter[str] = Counter()  # by owner: places that are taken and not yet used

    @contextmanager
    def place(self, owner: str, most: int | None) -> Iterator[None]:
        """Room for one more of this owner's answers, to be started within the block. Raises ChatError at `most`."""
        writing = sum(one.owner == owner for one in self._running.values()) + self._waiting[owner]
        if most is not None and writing >= most:
            raise ChatError(
                f"{writing} answers are being written for you already. Wait for one, or stop it; your text stays in "
                "the box."
            )
        self._waiting[owner] += 1
        try:
            yield
        finally:
            self._waiting[owner] -= 1
            if not self._waiting[owner]:
                del self._waiting[owner]

    def start(self, question: Message, owner: str, *, vary: bool = False) -> Answering:
        """Begin to answer; raises ChatError when this conversation's last answer is not finished."""
        self.refuse_while_busy(question.conversation_id)
        answering = Answering(self._chat, question, owner, vary)
        self._running[question.conversation_id] = answering
        answering.task.add_done_callback(lambda _: self._running.pop(question.conversation_id, None))
        return answering

    def running(self, conversation_id: str | None) -> Answering | None:
        return self._running.get(conversation_id or "")

    def refuse_while_busy(self, conversation_id: str | None) -> None:
        """Raises ChatError while an answer is on its way."""
        if self.running(conversation_id):
            raise ChatError("The last answer is still being written. Wait for it, or press Stop.")
