"""Renders requests and streams what answers them; the store is only read."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from assistant.embedding import EmbeddingError
from assistant.limits import ChatError, ChatLimits
from assistant.rendering import Context, Rendered, fit, fit_demonstrations, keep, render, render_answer
from assistant.retrieval import Retriever
from assistant.sampling import Sampling
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_client import Completion
from assistant.vllm_pool import VllmPool
from store import Store, StoreError
from store.demonstrations import Demonstration
from store.records import Deployment, Usage

logger = logging.getLogger(__name__)


class Requests:
    """Of one pool of servers."""

    def __init__(
        self,
        store: Store,
        pool: VllmPool,
        tokenizer: ChatTokenizer,
        limits: ChatLimits,
        retriever: Retriever | None,
    ):
        self._store, self._pool, self._tokenizer = store, pool, tokenizer
        self._limits, self._retriever = limits, retriever
        self.waiting = 0  # answers that have no token yet

    @property
    def limits(self) -> ChatLimits:
        """As the servers have them, once they are known; an answer takes at most half of the context."""
        context = self._pool.context or self._limits.context
        return ChatLimits(context, min(self._limits.answer, context // 2))

    def limits_for(self, sampling: Sampling) -> ChatLimits:
        usual = self.limits
        if sampling.max_tokens is None:
            return usual
        return ChatLimits(usual.context, min(sampling.max_tokens, usual.context // 2))

    def render(
        self, context: Context, deployment: Deployment, begun: str, sampling: Sampling
    ) -> tuple[Rendered, Sequence[Demonstration]]:
        """Token ids of the request, and the demonstrations in it; the oldest turns are left out when the conversation
        outgrows the context. Or the approved answer that is given as it is, as the one demonstration.
        """
        limits = self.limits_for(sampling)
        known = self._copied(deployment, context) if sampling.may_be_copied and not begun else None
        if known and len(self._tokenizer.encode_text(known.answer)) <= limits.answer:
            return Rendered((), 0, copied=known.answer), (known,) if known.message_id else ()
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
        found = self._demonstrations(deployment, context[-1][1])
        shown = fit_demonstrations(self._tokenizer, segments, fitting, found, room)
        rendered = render(self._tokenizer, segments, fitting, shown)
        left_out = len(context) - len(fitting)
        return replace(rendered, ids=rendered.ids + prefix, left_out_turns=left_out), shown

    def _copied(self, deployment: Deployment, context: Context) -> Demonstration | None:
        """None where it cannot be found: the model answers."""
        try:
            return self._retriever.copied(deployment, context) if self._retriever else None
        except (EmbeddingError, StoreError) as error:
            logger.warning("Asking the model, without approved answers: %s", error)
            return None

    def _demonstrations(self, deployment: Deployment, question: str) -> Sequence[Demonstration]:
        """None where they cannot be found: an answer without them is better than none."""
        try:
            return self._retriever.for_deployment(deployment, question) if self._retriever else ()
        except (EmbeddingError, StoreError) as error:
            logger.warning("Answering without approved answers: %s", error)
            return ()

    async def unstored(
        self, deployment: Deployment, context: Context, sampling: Sampling
    ) -> AsyncGenerator[Rendered | str | Completion]:
        """Stream a deployment's answer to these turns, after the request; nothing is stored. Raises as `complete`."""
        if deployment.adapter in self._pool.lost:
            deployment = await asyncio.to_thread(self._store.deployments.without_adapter, deployment)
        rendered, _ = await asyncio.to_thread(self.render, context, deployment, "", sampling)
        yield rendered
        async with aclosing(self.complete(rendered, sampling, deployment.adapter)) as stream:
            async for item in stream:
                yield item

    async def complete(
        self, request: Rendered, sampling: Sampling, adapter: str | None = None, conversation: str = ""
    ) -> AsyncGenerator[str | Completion]:
        """Stream what the adapter or the base model writes after this request, or the answer that is copied.

        Raises ChatError, VllmError.
        """
        if request.copied:
            yield request.copied
            yield Completion(request.copied, 0, 0, 0, 0.0, 0.0, finish_reason="stop")
            return
        limits, ids = self.limits_for(sampling), request.ids
        if len(ids) > limits.room:
            raise ChatError(
                f"The request takes {len(ids):,} tokens; the model has room for {limits.room:,} beside an answer of "
                f"{limits.answer:,}. Shorten it, or ask for fewer with max_tokens."
            )
        end_ids = self._tokenizer.end_ids
        name, options = adapter or self._pool.base, {"max_tokens": limits.answer, "end_ids": end_ids}
        stream = self._pool.stream(name, ids, conversation, sampling=sampling, **options)
        self.waiting += 1
        is_first = True
        try:
            async with aclosing(stream):
                async for item in stream:
                    self.waiting -= is_first
                    is_first = False
                    yield item
        finally:
            self.waiting -= is_first


def usage_of(end: Completion, rendered: Rendered, shown: Sequence[Demonstration]) -> Usage:
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
