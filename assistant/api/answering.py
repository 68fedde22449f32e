"""One request's answers: which prompt it has, what serves it, and the pieces in which the answers come."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from assistant.api.chat_request import Asked, ChatBody, Turns
from assistant.api.errors import ApiError
from assistant.api.known_prompts import KnownPrompts
from assistant.chat import Chat, Progress, Started
from assistant.rendering import Rendered, turns
from assistant.sampling import Sampling
from assistant.tokenizer import ChatTokenizer
from assistant.tool_calls import Call, CallForm
from assistant.vllm_client import Completion, Token
from store import Store
from store.errors import NotFound
from store.records import Deployment, Message, Usage
from store.visible import is_blank, one_line

BASE = "base"  # the model without any assistant
_TITLE_CHARACTERS = 60


@dataclass(frozen=True)
class End:
    """How one answer ended, and what it cost in tokens."""

    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    tokens: tuple[Token, ...] = ()  # with their log-probabilities, where the client asked for them


@dataclass(frozen=True)
class Piece:
    """More text of the answer with this index, its end, or both; `sent` is the request, once it is known."""

    index: int
    text: str = ""
    end: End | None = None
    id: str = ""  # of the stored answer
    sent: Rendered | None = None
    calls: tuple[Call, ...] = ()  # of tools, at the end


@dataclass(frozen=True)
class Plan:
    """What answers a request: a deployment, or the base model with just what was sent.

    `turns` end with the question, and `is_kept` says whether they are stored, with `metadata`. `full_tokens` are those
    of the assistant's whole prompt, `version` that of the recognised one. `unchanged` is the request where it is served
    as it was sent, `begun` what its answer begins with, `left_out_tools` how many tools the model cannot be told of.
    """

    deployment: Deployment | None = None
    turns: Turns = ()
    is_kept: bool = False
    version: int | None = None
    full_tokens: int = 0
    metadata: Mapping[str, str] | None = None
    unchanged: Rendered | None = None
    begun: str = ""
    left_out_tools: int = 0

    @property
    def model(self) -> str:
        return self.deployment.assistant_id if self.deployment else BASE

    def details(self, sent: Rendered | None) -> dict[str, Any]:
        """For the client: what served the answer, and the tokens of the prompt that were sent and saved."""
        left_out = {"left_out_tools": self.left_out_tools} if self.left_out_tools else {}
        if self.deployment is None:
            return {"assistant": None, "deployment": None, **left_out}
        tokens = sent.prompt_part + sent.demonstration_part if sent else 0
        return {
            "assistant": self.deployment.assistant_id,
            "deployment": self.deployment.id,
            "recognised_version": self.version,
            "prompt_tokens_sent": tokens,
            "prompt_tokens_saved": max(0, self.full_tokens - tokens),
            "left_out_turns": sent.left_out_turns if sent else 0,
            "copied": bool(sent and sent.copied),
            **left_out,
        }


class Planner:
    """Finds what answers a request."""

    def __init__(self, store: Store, chat: Chat, known: KnownPrompts, tokenizer: ChatTokenizer):
        self._store, self._chat, self._known, self._tokenizer = store, chat, known, tokenizer

    def plan(self, body: ChatBody, asked: Asked) -> Plan:
        """A request with tools is served as it was sent: what was proven without them is not proven with them.

        Raises ApiError where no model has the name and no prompt was sent that could be recognised.
        """
        plan = self._found(body, asked)
        if plan.deployment is not None and asked.form is None:
            return plan
        sent, begun = [*asked.as_sent], body.begun(asked.form)
        if plan.deployment is not None:
            whole = self._store.deployments.without_adapter(plan.deployment)
            plan = replace(plan, deployment=whole)
            if is_blank(asked.system or ""):
                prompt = turns(self._store.prompts.get(whole.prompt_id).segments, ())
                sent = [*prompt, *(one for one in sent if one.role != "system")]
        ids = self._tokenizer.encode_chat(sent, msgspec.to_builtins(body.callable), begun)
        return replace(plan, unchanged=Rendered(ids, plan.full_tokens), begun="".join(begun))

    def _found(self, body: ChatBody, asked: Asked) -> Plan:
        wanted = None if body.model == BASE else self._assistant(body.model)
        recognised = self._known.find(asked.system, asked.turns, wanted) if asked.system is not None else None
        if recognised:
            assistant_id, turns, version = recognised.assistant_id, recognised.turns, recognised.version
            return self._served(assistant_id, turns, body, version)
        if asked.system is None or (body.model == BASE and is_blank(asked.system)):
            return Plan()
        if is_blank(asked.system):
            if wanted is None:
                raise ApiError(404, self._unknown(body.model), param="model", code="model_not_found")
            return self._served(wanted, asked.turns, body)
        found = None if body.store is False else self._known.add_found(asked.system, self._chat.limits)
        return self._served(found, asked.turns, body) if found else Plan()

    def _served(self, assistant_id: str, turns: Turns, body: ChatBody, version: int | None = None) -> Plan:
        with self._store.reading():
            deployment = self._store.deployments.active(assistant_id)
            if deployment is None:
                raise ApiError(404, f"The assistant {assistant_id!r} has no prompt yet.", param="model")
            full = self._store.deployments.without_adapter(deployment).prompt_tokens
        return Plan(deployment, turns, body.store is not False, version, full, body.metadata)

    def ask(self, plan: Plan, owner: str) -> Message:
        """Store the question of a plan."""
        title = one_line(plan.turns[-1][1], _TITLE_CHARACTERS)
        source = "tools" if plan.unchanged else "chat"
        return self._store.threads.ask(plan.model, owner, plan.turns, title, plan.metadata, source)

    def _assistant(self, id: str) -> str | None:
        try:
            return self._store.assistants.get(id).id
        except NotFound:
            return None

    def _unknown(self, model: str) -> str:
        names = ", ".join([*(one.id for one in self._store.assistants.all()), BASE])
        return (
            f"There is no assistant {model[:80]!r}, and the request has no system message by which one could be "
            f"recognised. Models here: {names}."
        )


async def answers(
    chat: Chat, plan: Plan, kept: Started | Message | None, body: ChatBody, asked: Asked
) -> AsyncGenerator[Piece]:
    """As many as the client wants; those to a stored question are stored as they end. Raises ChatError, VllmError."""
    streams = [_answer(chat, plan, kept, n, body.sampling(n)) for n in range(body.n or 1)]
    whole = merged(streams)
    if asked.form:
        whole = with_calls(whole, asked.form, 1 if body.parallel_tool_calls is False else None)
    async with aclosing(whole) as pieces:
        async for piece in pieces:
            yield piece


def _answer(
    chat: Chat, plan: Plan, kept: Started | Message | None, index: int, sampling: Sampling
) -> AsyncGenerator[Piece]:
    if kept is not None:
        return _of_progress(index, chat.answer(kept, sampling, plan.begun, plan.unchanged))
    if plan.unchanged is not None:
        first = Piece(index, plan.begun, sent=plan.unchanged)
        return relayed(index, chat.requests.complete(plan.unchanged, sampling), first)
    assert plan.deployment is not None
    return relayed(index, chat.requests.unstored(plan.deployment, plan.turns, sampling))


async def with_calls(
    pieces: AsyncGenerator[Piece], form: CallForm, most: int | None = None
) -> AsyncGenerator[Piece]:
    """The calls of tools, at the end of each answer, instead of the text that they are written as."""
    texts, sent = defaultdict[int, str](str), defaultdict[int, int](int)
    async with aclosing(pieces):
        async for piece in pieces:
            n, end, calls = piece.index, piece.end, tuple[Call, ...]()
            texts[n] += piece.text
            content = form.content_of(texts[n])
            if end:
                content, calls = form.read(texts[n])
                if calls and end.finish_reason == "stop":
                    end = replace(end, finish_reason="tool_calls")
            yield replace(piece, text=content[sent[n] :], end=end, calls=calls[:most])
            sent[n] = len(content)


async def _of_progress(index: int, steps: AsyncGenerator[Progress]) -> AsyncGenerator[Piece]:
    seen = ""
    async with aclosing(steps):
        async for step in steps:
            message, text = step.message, step.message.text
            if step.not_saved:
                # It is held in memory until it can be saved; the client need not wait for that.
                raise ApiError(503, step.not_saved)
            usage = message.usage
            end = _end(message.finish_reason, usage, step.tokens) if usage else None
            if end or text != seen or step.rendered is None:
                yield Piece(index, text[len(seen) :], end, message.id, step.rendered)
            seen = text


def _end(reason: str | None, cost: Usage | Completion, tokens: tuple[Token, ...]) -> End:
    return End(reason or "stop", cost.prompt_tokens, cost.cached_tokens, cost.completion_tokens, tokens)


async def relayed(
    index: int,
    items: AsyncGenerator[Rendered | str | Completion] | AsyncGenerator[str | Completion],
    first: Piece | None = None,
) -> AsyncGenerator[Piece]:
    """An answer that is not stored, behind `first`. Raises ChatError, VllmError."""
    async with aclosing(items):
        if first:
            yield first
        async for item in items:
            if isinstance(item, Completion):
                yield Piece(index, end=_end(item.finish_reason, item, item.tokens))
            elif isinstance(item, Rendered):
                yield Piece(index, sent=item)
            else:
                yield Piece(index, item)


async def merged(streams: Sequence[AsyncGenerator[Piece]]) -> AsyncGenerator[Piece]:
    """The pieces of all streams as they come; the first error ends all."""
    if len(streams) == 1:
        async with aclosing(streams[0]) as only:
            async for piece in only:
                yield piece
        return
    async with AsyncExitStack() as stack:
        for stream in streams:
            await stack.enter_async_context(aclosing(stream))
        async for piece in _as_they_come(streams):
            yield piece


async def _as_they_come(streams: Sequence[AsyncIterator[Piece]]) -> AsyncIterator[Piece]:
    waiting = {asyncio.ensure_future(anext(stream)): stream for stream in streams}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                stream = waiting.pop(task)
                try:
                    piece = task.result()
                except StopAsyncIteration:
                    continue
                waiting[asyncio.ensure_future(anext(stream))] = stream
                yield piece
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
