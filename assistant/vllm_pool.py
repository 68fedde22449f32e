"""Several vLLM servers as one: adapters go to all, a request to the least busy, background requests wait for people."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, Self

from assistant.vllm_client import (
    Completion,
    ServedModel,
    UnknownModel,
    VllmClient,
    VllmError,
    VllmRefused,
    VllmUnreachable,
)

# A decoding step with an adapter costs nearly the same for 1 and for 32 answers. What keeps people waiting is a heap of
# questions that are read at once, so beside people they come one after the other.
_AT_ONCE = 32
_BESIDE_PEOPLE = 16
_APART_S = 0.25
# So long after the last answer that was seen, nobody chats any more.
_QUIET_AFTER_S = 30.0
_POLL_S = 0.05
# Where people ask without a pause, one background request is admitted after this wait, so that a gate goes on.
_LONGEST_WAIT_S = 5.0


class AdmissionControl:
    """An async context manager around each background request (gate, parity, timing): people's answers go first.

    vLLM computes all running requests in every step, so a question that comes beside a gate's waits for what they read
    and write. It is enough to admit fewer of those beside people, one after the other, and none while an answer is in
    flight; this works with any vLLM, since nothing of it has to be changed.

    `count_answers` counts the answers that people are waiting for, whichever process writes them; it is called up to
    20 times a second.
    """

    def __init__(
        self, count_answers: Callable[[], int], servers: int = 1, clock: Callable[[], float] = time.monotonic
    ):
        self._count_answers, self._servers, self._clock = count_answers, servers, clock
        self._turn = asyncio.Lock()  # one at a time asks to be admitted, in the order of coming
        self._running = 0
        self._people_seen_at = self._admitted_at = -math.inf

    async def __aenter__(self) -> None:
        async with self._turn:
            since = self._clock()
            while not self._admits(self._clock() - since):
                await asyncio.sleep(_POLL_S)
            self._running += 1
            self._admitted_at = self._clock()

    async def __aexit__(self, *_: object) -> None:
        self._running -= 1

    def _admits(self, waited_s: float) -> bool:
        now = self._clock()
        if self._count_answers():
            self._people_seen_at = now
            return self._running == 0 and waited_s >= _LONGEST_WAIT_S
        if now - self._people_seen_at > _QUIET_AFTER_S:
            return self._running < self._servers * _AT_ONCE
        apart = now - self._admitted_at >= _APART_S / self._servers
        return apart and self._running < self._servers * _BESIDE_PEOPLE


class VllmPool:
    """The servers that serve the same base model. `base` is the name under which they serve it, `context` how many
    tokens a request may hold on each of them, None while nobody has asked; `away` are the addresses that are passed
    over. `lost` has a sentence for each active adapter that no server can load.

    `count_answers` counts the answers that people are waiting for; background requests wait for them.
    """

    def __init__(
        self, clients: Sequence[VllmClient], base: str = "base", count_answers: Callable[[], int] = lambda: 0
    ):
        self._clients = list(clients)
        self.base = base
        self.context: int | None = None
        self.away: set[str] = set()
        self.lost: dict[str, str] = {}
        self._admission = AdmissionControl(count_answers, len(self._clients))

    @classmethod
    async def connect(
        cls, urls: Sequence[str], key: str | None, count_answers: Callable[[], int] = lambda: 0
    ) -> Self:
        """Find out the base model's name and context; a server that is away is passed over. Raises VllmError when all
        are, or two disagree.
        """
        pool = cls([VllmClient(url, key) for url in urls], count_answers=count_answers)
        try:
            await pool._ask_for_base()
        except VllmError:
            await pool.close()
            raise
        return pool

    async def _ask_for_base(self) -> None:
        found: dict[str, list[ServedModel]] = {}
        for client in self._clients:
            try:
                found[client.url] = await client.models()
            except VllmUnreachable as error:
                self.away.add(client.url)
                if len(self.away) == len(self._clients):
                    raise error
        bases = [base_model(models, url) for url, models in found.items()]
        names = sorted({base.id for base in bases})
        if len(names) > 1:
            raise VllmRefused(
                f"The servers serve different base models: {', '.join(names)}. Start them alike."
            )
        self.base = names[0]
        self.context = min((base.max_model_len for base in bases if base.max_model_len), default=None)

    def background(self) -> AbstractAsyncContextManager[None]:
        """To be entered around a request that can wait: people's questions go first."""
        return self._admission

    def pick(self) -> VllmClient:
        """The server with the fewest requests in flight from here."""
        return min(self.each(), key=lambda client: client.in_flight)

    async def stream(
        self, model: str, ids: Sequence[int], **options: Any
    ) -> AsyncGenerator[str | Completion, None]:
        """As `VllmClient.stream`; where a server does not answer at all, another one is asked."""
        while True:
            client, begun = self.pick(), False
            try:
                async with aclosing(client.stream(model, ids, **options)) as stream:
                    async for item in stream:
                        begun = True
                        yield item
                return
            except VllmUnreachable:
                if begun or client.url in self.away or self.each() == [client]:
                    raise
                self.away.add(client.url)

    async def models(self) -> set[str]:
        """Names that every server answers to."""
        served = await asyncio.gather(*(client.models() for client in self.each()))
        return set.intersection(*({model.id for model in models} for models in served))

    async def load_adapter(self, name: str, path: str) -> None:
        """Load on every server, or on none: a partial load is taken back before the error is raised."""
        lacking = [client for client in self.each() if not await client.has(name, path)]
        results = await asyncio.gather(
            *(client.load_adapter(name, path) for client in lacking), return_exceptions=True
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:  # only what this call loaded: the others may be answering people with it
            await asyncio.gather(*(client.unload_adapter(name) for client in lacking), return_exceptions=True)
            raise failures[0]

    async def need_adapter(self, name: str, path: str) -> None:
        """Raises UnknownModel where a server does not have it, VllmRefused where one has another under its name."""
        for client in self.each():
            if not await client.has(name, path):
                raise UnknownModel(f"vLLM at {client.url} has lost “{name}”: it was started again meanwhile.")

    async def unload_adapter(self, name: str) -> list[str]:
        """Best effort on every server; returns what went wrong where, for the log."""
        results = await asyncio.gather(
            *(client.unload_adapter(name) for client in self.each()), return_exceptions=True
        )
        return [str(result) for result in results if isinstance(result, VllmError)]

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients))

    def each(self) -> list[VllmClient]:
        """Those that are not away; all of them where none is left."""
        return [client for client in self._clients if client.url not in self.away] or list(self._clients)


def base_model(models: Sequence[ServedModel], url: str) -> ServedModel:
    """The served model that is nobody's adapter."""
    for model in models:
        if model.parent is None:
            return model
    raise VllmUnreachable(f"vLLM at {url} lists no base model.")
