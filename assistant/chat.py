"""One chat turn: the person's message in, the answer out as it streams, and all of it in the store."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from assistant.limits import MAX_MESSAGE_CHARACTERS, ChatError, ChatLimits
from assistant.message_finalizer import MessageFinalizer
from assistant.rendering import Rendered
from assistant.requests import Requests, usage_of
from assistant.retrieval import Retriever
from assistant.sampling import GREEDY, Sampling
from assistant.serving import load_or_lose
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import Completion, Token, UnknownModel, VllmError
from assistant.vllm_pool import VllmPool
from store import Store
from store.demonstrations import Demonstration
from store.records import Deployment, Message, MessageStatus, Role
from store.visible import is_blank, one_line

_TITLE_CHARACTERS = 60


@dataclass(frozen=True)
class Progress:
    """The answer so far; `message.status` says whether more follows, `not_saved` why its end is not stored yet.

    `rendered` is the request, once there is one; `tokens` are those of a whole answer, where they were asked for.
    """

    message: Message
    not_saved: str = ""
    rendered: Rendered | None = None
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True)
class Started:
    """A stored question and its answer, still without text, which `deployment` gives."""

    question: Message
    deployment: Deployment
    message: Message


class Chat:
    """Turns of every conversation, on one pool of servers."""

    def __init__(
        self,
        store: Store,
        pool: VllmPool,
        tokenizer: ChatTokenizer,
        base: str,
        adapters: Path,
        limits: ChatLimits,
        retriever: Retriever | None = None,
        on_answer: Callable[[Deployment, Message], None] = lambda deployment, answer: None,
    ):
        """`retriever` finds answers that people approved of; `on_answer` hears of each end."""
        self._store = store
        self._finalizer = MessageFinalizer(store)
        self._pool = pool
        self._base = base
        self._adapters = adapters
        self.requests = Requests(store, pool, tokenizer, limits, retriever)
        self._on_answer = on_answer

    def ask(self, assistant_id: str, conversation_id: str | None, text: str, owner: str = "local") -> Message:
        """Store the person's message, in a new conversation if there is none with this assistant; raises ChatError."""
        self._check(text)
        begun = self._store.conversations.get(conversation_id) if conversation_id is not None else None
        if begun is None or begun.assistant_id != assistant_id:  # another one was chosen this moment
            title = one_line(text, _TITLE_CHARACTERS)
            return self._store.conversations.start(assistant_id, text, title, owner)
        return self._store.messages.add(begun.id, begun.head_id, Role.USER, text)

    def edit(self, message_id: str, text: str) -> Message:
        """A new version of a user message, beside the old one; what followed the old one stays with it."""
        self._check(text)
        old = self._store.messages.get(message_id)
        return self._store.messages.add(old.conversation_id, old.parent_id, Role.USER, text)

    async def start(self, question: Callable[[], Message], unshortened: bool = False) -> Started:
        """Store the question that `question` adds, or finds, and its empty answer: both at once, or none of them.

        `unshortened`: the base model gives it under the whole prompt. A stop in these milliseconds still finds the
        answer and ends it as stopped.
        """
        write = partial(self._start, question, unshortened)
        starting = asyncio.ensure_future(asyncio.to_thread(self._store.group_commit, write))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await self.abandon(await starting)
            raise

    async def abandon(self, started: Started) -> None:
        """End as stopped what nobody will answer."""
        await self._finalizer.save_or_defer(replace(started.message, status=MessageStatus.STOPPED))

    async def answer(
        self,
        asked: Message | Started,
        sampling: Sampling = GREEDY,
        begun: str = "",
        rendered: Rendered | None = None,
    ) -> AsyncGenerator[Progress]:
        """Stream the answer to a stored user message, or one that is started.

        `begun` is the text of an answer that was cut off: this one goes on where it ends. `rendered` is the request,
        where the store does not have all of it. Closing the iterator stops the request and keeps the text so far as a
        stopped message. A failure yields the message as failed, then raises ChatError. Does not end before the end of
        the answer is stored.
        """
        whole = rendered is not None
        started = asked if isinstance(asked, Started) else await self.start(lambda: asked, whole)
        question = started.question
        for is_last_try in (False, True):
            try:
                async with aclosing(self._stream(started, sampling, begun, rendered)) as stream:
                    async for progress in stream:
                        yield progress
                return
            except UnknownModel as error:
                if is_last_try:
                    await self._fail(started.message)
                    yield Progress(replace(started.message, status=MessageStatus.FAILED))
                    raise ChatError(f"{error} Restart the app; your message is saved.") from error
            # The server was restarted by hand, or the deployment was replaced and unloaded this very moment.
            serving = await self._load_again(started.deployment.assistant_id, started.message)
            if serving.id != started.deployment.id:
                await self._fail(started.message)
                started = await self.start(lambda: question, whole)

    async def _fail(self, message: Message) -> None:
        await self._finalizer.save_or_defer(replace(message, status=MessageStatus.FAILED))

    def _start(self, question: Callable[[], Message], unshortened: bool) -> Started:
        asked = question()
        conversation = self._store.conversations.get(asked.conversation_id)
        deployment = self._store.deployments.active(conversation.assistant_id)
        if deployment is None:
            raise ChatError(
                "This assistant has no prompt yet. Write one on the Prompt page, or load the sample."
            )
        if unshortened or deployment.adapter in self._pool.lost:
            deployment = self._store.deployments.without_adapter(deployment)
        message = self._store.messages.add(
            conversation.id,
            asked.id,
            Role.ASSISTANT,
            "",
            status=MessageStatus.STREAMING,
            deployment_id=deployment.id,
        )
        return Started(asked, deployment, message)

    async def _stream(
        self, started: Started, sampling: Sampling, begun: str, rendered: Rendered | None
    ) -> AsyncGenerator[Progress, None]:
        question, deployment, message = started.question, started.deployment, started.message
        text, failure, tokens = begun, None, tuple[Token, ...]()
        # Stopped until it is known otherwise, and without its text.
        final = replace(message, status=MessageStatus.STOPPED)
        try:
            # Within: a page that closes here stops the answer too.
            yield Progress(replace(message, text=text), rendered=rendered)
            request, shown = (
                (rendered, ())
                if rendered
                else await asyncio.to_thread(self._render_stored, question, deployment, begun, sampling)
            )
            rendered = request
            stream = self.requests.complete(request, sampling, deployment.adapter, question.conversation_id)
            async with aclosing(stream):
                async for item in stream:
                    if isinstance(item, Completion):
                        usage, reason = usage_of(item, request, shown), item.finish_reason
                        tokens = item.tokens
                        final = replace(
                            final, status=MessageStatus.COMPLETE, usage=usage, finish_reason=reason
                        )
                    else:
                        text += item
                        yield Progress(replace(message, text=text), rendered=rendered)
        except UnknownModel:
            raise  # the caller loads the adapter and goes on with the same message
        except VllmError as error:
            failure = ChatError(f"{error} Your message is saved; press Regenerate to try again.")
            failure.__cause__ = error
        except ChatError as error:
            failure = error
        except BaseException as error:
            await self._save_interrupted(replace(final, text=text), error)
            raise
        final = replace(final, text=text, status=MessageStatus.FAILED if failure else final.status)
        try:
            async with aclosing(self._finalizer.save(final)) as refusals:
                async for reason in refusals:
                    yield Progress(replace(message, text=text), reason)
        except (asyncio.CancelledError, GeneratorExit) as error:
            await self._save_interrupted(final, error)
            raise
        self._on_answer(deployment, final)
        yield Progress(final, rendered=rendered, tokens=tokens)
        if failure is not None:
            raise failure

    async def _save_interrupted(self, final: Message, error: BaseException) -> None:
        """For a turn that was stopped, or whose iterator is closed.

        Raises ChatError where the person who stopped it must know that it is not saved yet.
        """
        reason = await self._finalizer.save_or_defer(final)
        if reason and isinstance(error, asyncio.CancelledError):
            raise ChatError(f"What was written so far is saved as soon as it can be. {reason}") from error

    @property
    def limits(self) -> ChatLimits:
        """As the servers have them, once they are known."""
        return self.requests.limits

    def notices(self) -> list[str]:
        """What keeps an assistant from being served as it should be, a sentence each."""
        found = []
        for assistant in self._store.assistants.all():
            if deployment := self._store.deployments.active(assistant.id):
                complaint = self.limits.complaint(deployment.prompt_tokens)
                found += [
                    self._pool.lost.get(deployment.adapter or ""),
                    complaint and f"{assistant.name}: {complaint}",
                ]
        return [*filter(None, found)]

    def _render_stored(
        self, question: Message, deployment: Deployment, begun: str, sampling: Sampling
    ) -> tuple[Rendered, Sequence[Demonstration]]:
        thread = self._store.messages.branch(question.id)
        context = [(m.role, m.text) for m in thread if m.role is Role.USER or m.text]
        return self.requests.render(context, deployment, begun, sampling)

    async def _load_again(self, assistant_id: str, message: Message) -> Deployment:
        """What serves the assistant now, loaded; raises ChatError, with the message marked as failed."""
        try:
            deployment = await asyncio.to_thread(self._store.deployments.active, assistant_id)
            if deployment is None:
                raise ChatError("This assistant has no active prompt any more. Write one on the Prompt page.")
            return await load_or_lose(self._store, self._pool, deployment, self._adapters, self._base)
        except (VllmError, ChatError) as error:
            await self._fail(message)
            raise ChatError(f"The active adapter cannot be loaded: {error}") from error

    def _check(self, text: str) -> None:
        if is_blank(text):
            raise ChatError("The message is empty: nothing of it can be seen. Write something first.")
        if len(text) > MAX_MESSAGE_CHARACTERS:
            raise ChatError(
                f"The message has {len(text):,} characters; at most {MAX_MESSAGE_CHARACTERS:,} fit. Shorten it."
            )
