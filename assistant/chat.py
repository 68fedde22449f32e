"""One chat turn: the person's message in, the answer out as it streams, and all of it in the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from assistant.embedding import EmbeddingError
from assistant.rendering import (
    Context,
    Rendered,
    fit,
    fit_demonstrations,
    keep,
    render,
    render_answer,
)
from assistant.sampling import GREEDY, Sampling
from assistant.serving import load_or_lose
from assistant.tokenizer import ChatTokenizer, Turn
from assistant.vllm_client import Completion, Token, UnknownModel, VllmError
from assistant.vllm_pool import VllmPool
from store import Store, StoreError
from store.demonstrations import Demonstration
from store.errors import NotSaved
from store.records import Deployment, Message, MessageStatus, Role, Usage
from store.visible import is_blank, one_line

MAX_MESSAGE_CHARACTERS = 20_000
_SHORTEST_MESSAGE = 64  # tokens, with what the template puts around it
_TITLE_CHARACTERS = 60
_SAVE_AGAIN_S = 2.0

logger = logging.getLogger(__name__)


class ChatError(Exception):
    """The turn did not happen or broke off; the message is written for the person who chats."""


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


@dataclass(frozen=True)
class ChatLimits:
    """In tokens: what a request may hold in all, and what an answer may take of it."""

    context: int = 4096
    answer: int = 256

    @property
    def room(self) -> int:
        """For prompt and conversation."""
        return self.context - self.answer

    def complaint(self, prompt_tokens: int) -> str | None:
        """Why a prompt that costs so much cannot be served; None where a message has room beside it."""
        too_many = prompt_tokens + _SHORTEST_MESSAGE - self.room
        if too_many <= 0:
            return None
        return (
            f"The prompt takes {prompt_tokens:,} tokens, which leaves no room for a message: the model takes "
            f"{self.context:,} in all, of which {self.answer:,} are for the answer. Shorten it by about "
            f"{too_many:,} tokens, or choose a model with a longer context."
        )

    def check(self, prompt_tokens: int) -> None:
        """Raises ChatError where there is a complaint."""
        if complaint := self.complaint(prompt_tokens):
            raise ChatError(complaint)


class MessageFinalizer:
    """Saves how answers ended, trying again while the store is full or locked; an end is held in memory meanwhile.

    Where the app ends first, the message stays without its text and counts as failed from the next start on.
    """

    def __init__(self, store: Store):
        self._store = store
        self._pending: set[asyncio.Task[None]] = set()

    async def save(self, final: Message) -> AsyncGenerator[str]:
        """Try until it is stored; yields the reason each time it was not. Raises what trying again would not change.

        A caller that is interrupted here has to call `save_or_defer`.
        """
        while True:
            try:
                await asyncio.to_thread(self._write, final)
                return
            except NotSaved as error:
                yield str(error)
            await asyncio.sleep(_SAVE_AGAIN_S)

    async def save_or_defer(self, final: Message) -> str:
        """Store it now, or as soon as the store takes it; returns why not now, nothing where it is stored."""
        try:
            await asyncio.to_thread(self._write, final)
        except NotSaved as error:
            task = asyncio.create_task(self._save_later(final))
            self._pending.add(task)  # the loop itself holds it weakly
            task.add_done_callback(self._pending.discard)
            return str(error)
        except StoreError:
            pass  # deleted meanwhile, or stored by the thread that `save` could not wait for
        return ""

    async def _save_later(self, final: Message) -> None:
        with suppress(StoreError):
            async for _ in self.save(final):
                pass

    def _write(self, final: Message) -> None:
        self._store.messages.finish(final.id, final.text, final.status, final.usage, final.finish_reason)


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
        retrieve: Callable[[Deployment, str], Sequence[Demonstration]] = lambda deployment, question: (),
        on_answer: Callable[[Deployment, Message], None] = lambda deployment, answer: None,
    ):
        """`retrieve` finds the approved answers that are sent along with a question; `on_answer` hears of each end."""
        self._store = store
        self._finalizer = MessageFinalizer(store)
        self._pool = pool
        self._tokenizer = tokenizer
        self._base = base
        self._adapters = adapters
        self._limits = limits
        self._retrieve = retrieve
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

    async def start(self, question: Callable[[], Message]) -> Started:
        """Store the question that `question` adds, or finds, and its empty answer: both at once, or none of them.

        A stop in these milliseconds still finds the answer and ends it as stopped.
        """
        starting = asyncio.ensure_future(asyncio.to_thread(self._start, question))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await self.abandon(await starting)
            raise

    async def abandon(self, started: Started) -> None:
        """End as stopped what nobody will answer."""
        await self._finalizer.save_or_defer(replace(started.message, status=MessageStatus.STOPPED))

    async def answer(
        self, asked: Message | Started, sampling: Sampling = GREEDY, begun: str = ""
    ) -> AsyncGenerator[Progress]:
        """Stream the answer to a stored user message, or one that is started.

        `begun` is the text of an answer that was cut off: this one goes on where it ends. Closing the iterator stops
        the request and keeps the text so far as a stopped message. A failure yields the message as failed, then raises
        ChatError. Does not end before the end of the answer is stored.
        """
        started = asked if isinstance(asked, Started) else await self.start(lambda: asked)
        question = started.question
        for is_last_try in (False, True):
            try:
                async with aclosing(self._stream(started, sampling, begun)) as stream:
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
                started = await self.start(lambda: question)

    async def unstored(
        self, deployment: Deployment, context: Context, sampling: Sampling
    ) -> AsyncGenerator[Rendered | str | Completion]:
        """Stream a deployment's answer to these turns, after the request; nothing is stored. Raises as `complete`."""
        if deployment.adapter in self._pool.lost:
            deployment = await asyncio.to_thread(self._store.deployments.without_adapter, deployment)
        limits = self._limits_for(sampling)
        rendered, _ = await asyncio.to_thread(self._render, context, deployment, "", limits)
        yield rendered
        async with aclosing(self.complete(rendered.ids, sampling, deployment.adapter)) as stream:
            async for item in stream:
                yield item

    async def relay(self, turns: Sequence[Turn], sampling: Sampling) -> AsyncGenerator[str | Completion]:
        """Stream the base model's answer to just these turns; nothing is stored. Raises ChatError, VllmError."""
        ids = await asyncio.to_thread(self._tokenizer.encode_chat, turns)
        async with aclosing(self.complete(ids, sampling)) as stream:
            async for item in stream:
                yield item

    async def complete(
        self, ids: Sequence[int], sampling: Sampling, adapter: str | None = None
    ) -> AsyncGenerator[str | Completion]:
        """Stream what the adapter or the base model writes after these tokens. Raises ChatError, VllmError."""
        limits = self._limits_for(sampling)
        if len(ids) > limits.room:
            raise ChatError(
                f"The request takes {len(ids):,} tokens; the model has room for {limits.room:,} beside an answer of "
                f"{limits.answer:,}. Shorten it, or ask for fewer with max_tokens."
            )
        end_ids = self._tokenizer.end_ids
        stream = self._pool.stream(
            adapter or self._pool.base, ids, max_tokens=limits.answer, end_ids=end_ids, sampling=sampling
        )
        async with aclosing(stream):
            async for item in stream:
                yield item

    async def _fail(self, message: Message) -> None:
        await self._finalizer.save_or_defer(replace(message, status=MessageStatus.FAILED))

    def _start(self, question: Callable[[], Message]) -> Started:
        with self._store.writing():
            asked = question()
            conversation = self._store.conversations.get(asked.conversation_id)
            deployment = self._store.deployments.active(conversation.assistant_id)
            if deployment is None:
                raise ChatError(
                    "This assistant has no prompt yet. Write one on the Prompt page, or load the sample."
                )
            if deployment.adapter in self._pool.lost:
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
        self, started: Started, sampling: Sampling, begun: str
    ) -> AsyncGenerator[Progress, None]:
        question, deployment, message = started.question, started.deployment, started.message
        text, failure, rendered, tokens = begun, None, None, tuple[Token, ...]()
        final = replace(message, text=text, status=MessageStatus.STOPPED)  # until it is known otherwise
        try:
            yield Progress(
                replace(message, text=text)
            )  # within: a page that closes here stops the answer too
            limits = self._limits_for(sampling)
            rendered, shown = await asyncio.to_thread(
                self._render_stored, question, deployment, begun, limits
            )
            stream = self._pool.stream(
                deployment.adapter or self._pool.base,
                rendered.ids,
                max_tokens=limits.answer,
                end_ids=self._tokenizer.end_ids,
                sampling=sampling,
            )
            async with aclosing(stream):
                async for item in stream:
                    if isinstance(item, Completion):
                        usage, reason = _usage(item, rendered, shown), item.finish_reason
                        tokens = item.tokens
                        final = replace(
                            final, status=MessageStatus.COMPLETE, usage=usage, finish_reason=reason
                        )
                    else:
                        text += item
                        final = replace(final, text=text)
                        yield Progress(replace(message, text=text), rendered=rendered)
        except UnknownModel:
            raise  # the caller loads the adapter and goes on with the same message
        except VllmError as error:
            failure = ChatError(f"{error} Your message is saved; press Regenerate to try again.")
            failure.__cause__ = error
        except ChatError as error:
            failure = error
        except BaseException as error:
            await self._save_interrupted(final, error)
            raise
        if failure is not None:
            final = replace(final, status=MessageStatus.FAILED)
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
        """As the servers have them, once they are known; an answer takes at most half of the context."""
        context = self._pool.context or self._limits.context
        return ChatLimits(context, min(self._limits.answer, context // 2))

    def _limits_for(self, sampling: Sampling) -> ChatLimits:
        usual = self.limits
        if sampling.max_tokens is None:
            return usual
        return ChatLimits(usual.context, min(sampling.max_tokens, usual.context // 2))

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
        self, question: Message, deployment: Deployment, begun: str, limits: ChatLimits
    ) -> tuple[Rendered, Sequence[Demonstration]]:
        thread = self._store.messages.branch(question.id)
        context = [(m.role, m.text) for m in thread if m.role is Role.USER or m.text]
        return self._render(context, deployment, begun, limits)

    def _render(
        self, context: Context, deployment: Deployment, begun: str, limits: ChatLimits
    ) -> tuple[Rendered, Sequence[Demonstration]]:
        """Token ids of the request, and the demonstrations in it; the oldest turns are left out when the conversation
        outgrows the context.
        """
        segments = keep(self._store.prompts.get(deployment.prompt_id).segments, deployment.segment_ids)
        prefix = render_answer(self._tokenizer, begun)[:-1] if begun else ()
        room = limits.room - len(prefix)
        fitting = fit(self._tokenizer, segments, context, room)
        if fitting is None and begun:
            raise ChatError("The model has no room to go on with this answer. Ask for the rest of it.")
        if fitting is None:
            taken = len(render(self._tokenizer, segments, context[-1:]).ids)
            raise ChatError(
                f"Message and prompt take {taken:,} tokens; the model has room for {room:,}. Shorten the message."
            )
        found = self._find_demonstrations(deployment, context[-1][1])
        shown = fit_demonstrations(self._tokenizer, segments, fitting, found, room)
        rendered = render(self._tokenizer, segments, fitting, shown)
        left_out = len(context) - len(fitting)
        return replace(rendered, ids=rendered.ids + prefix, left_out_turns=left_out), shown

    def _find_demonstrations(self, deployment: Deployment, question: str) -> Sequence[Demonstration]:
        """None where they cannot be found: an answer without them is better than none."""
        try:
            return self._retrieve(deployment, question)
        except (EmbeddingError, StoreError) as error:
            logger.warning("Answering without approved answers: %s", error)
            return ()

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


def _usage(end: Completion, rendered: Rendered, shown: Sequence[Demonstration]) -> Usage:
    return Usage(
        prompt_tokens=end.prompt_tokens,
        prompt_part_tokens=rendered.prompt_part,
        cached_tokens=end.cached_tokens,
        completion_tokens=end.completion_tokens,
        first_token_s=end.first_token_s,
        total_s=end.total_s,
        mean_ln_p=end.mean_ln_p,
        left_out_turns=rendered.left_out_turns,
        demonstration_tokens=rendered.demonstration_part,
        demonstrations=tuple(one.message_id for one in shown),
    )
