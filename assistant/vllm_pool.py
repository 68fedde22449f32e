"""Several vLLM servers as one: adapters go to all, a request to the least busy, background requests wait for people."""

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, Protocol, Self, TypeVar

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
# A conversation stays where its turns are in the prefix cache, unless that server has so many more requests.
_BUSIER = 8

_Answer = TypeVar("_Answer")


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


class Servers(Protocol):
    """Which servers there are now, by address, and which of them are away."""

    @property
    def urls(self) -> tuple[str, ...]: ...

    @property
    def away(self) -> set[str]: ...


class VllmPool:
    """The servers that serve the same base model. `base` is the name under which they serve it, `context` how many
    tokens a request may hold on each of them, None while nobody has asked; `away` are the addresses that are passed
    over. `lost` has a sentence for each active adapter that no server can load.

    `count_answers` counts the answers that people are waiting for; background requests wait for them.
    """

    def __init__(
        self, clients: Sequence[VllmClient], base: str = "base", count_answers: Callable[[], int] = lambda: 0
    ):
        self._clients = {client.url: client for client in clients}
        self._servers: Servers | None = None
        self._key: str | None = None
        self.base = base
        self.context: int | None = None
        self.away: set[str] = set()
        self.lost: dict[str, str] = {}
        self._admission = AdmissionControl(count_answers, len(self._clients))

    @classmethod
    def following(cls, servers: Servers, key: str | None) -> Self:
        """Of whatever servers there are at the moment."""
        pool = cls([VllmClient(url, key) for url in servers.urls])
        pool._servers, pool._key, pool.away = servers, key, servers.away
        return pool

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
        bases = await self.on_each(_base_of)
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

    def pick(self, conversation: str = "", tried: Collection[str] = ()) -> VllmClient:
        """The server with the fewest requests in flight from here; of a conversation always the same one (rendezvous
        hashing), unless it is clearly busier.
        """
        clients = [client for client in self.each() if client.url not in tried] or self.each()
        least = min(clients, key=lambda client: client.in_flight)
        if not conversation:
            return least
        home = max(
            clients, key=lambda client: hashlib.sha256(f"{conversation} {client.url}".encode()).digest()
        )
        return home if home.in_flight < least.in_flight + _BUSIER else least

    async def on_each(self, ask: Callable[[VllmClient], Awaitable[_Answer]]) -> list[_Answer]:
        """What each server answers, asked all at once. One that cannot be reached is passed over from now on, while
        another one can. Raises VllmError.
        """
        clients = self.each()
        results = await asyncio.gather(*map(ask, clients), return_exceptions=True)
        gone = {
            c.url for c, result in zip(clients, results, strict=True) if isinstance(result, VllmUnreachable)
        }
        if len(gone) < len(clients):
            self.away |= gone
            results = [result for c, result in zip(clients, results, strict=True) if c.url not in gone]
        answers = list[_Answer]()
        for result in results:
            if isinstance(result, BaseException):
                raise result
            answers.append(result)
        return answers

    async def complete(self, model: str, ids: Sequence[int], **options: Any) -> Completion:
        """As `VllmClient.complete`; where a server does not answer, another one is asked."""
        tried = set[str]()
        while True:
            client = self.pick(tried=tried)
            try:
                return await client.complete(model, ids, **options)
            except VllmUnreachable as error:
                self._try_another(client, tried, error)

    def _try_another(self, client: VllmClient, tried: set[str], error: VllmUnreachable) -> None:
        """From now on; raises the error where no other server is left to try."""
        tried.add(client.url)
        if {other.url for other in self.each()} <= tried:
            raise error
        self.away.add(client.url)

    async def stream(
        self, model: str, ids: Sequence[int], conversation: str = "", **options: Any
    ) -> AsyncGenerator[str | Completion, None]:
        """As `VllmClient.stream`; where a server does not answer at all, another one is asked."""
        tried = set[str]()
        while True:
            client, begun = self.pick(conversation, tried), False
            try:
                async with aclosing(client.stream(model, ids, **options)) as stream:
                    async for item in stream:
                        begun = True
                        yield item
                return
            except VllmUnreachable as error:
                if begun:
                    raise
                self._try_another(client, tried, error)

    async def models(self) -> set[str]:
        """Names that every server answers to."""
        served = await self.on_each(VllmClient.models)
        return set.intersection(*({model.id for model in models} for models in served))

    async def load_adapter(self, name: str, path: str) -> None:
        """Load on every server, or on none: a partial load is taken back before the error is raised."""
        lacking = list[VllmClient]()

        async def load(client: VllmClient) -> None:
            lacking.append(client)
            try:
                await client.load_adapter(name, path)
            except VllmRefused:  # it has it: since before, or another request was faster
                lacking.remove(client)
                if not await client.has(name, path):
                    raise

        try:
            await self.on_each(load)
        except BaseException:  # only what this call loaded: the others may be answering people with it
            await asyncio.gather(*(client.unload_adapter(name) for client in lacking), return_exceptions=True)
            raise

    async def need_adapter(self, name: str, path: str) -> None:
        """Raises UnknownModel where a server does not have it, VllmRefused where one has another under its name."""

        async def need(client: VllmClient) -> None:
            if not await client.has(name, path):
                raise UnknownModel(f"vLLM at {client.url} has lost “{name}”: it was started again meanwhile.")

        await self.on_each(need)

    async def unload_adapter(self, name: str) -> list[str]:
        """Best effort on every server; returns what went wrong where, for the log."""
        results = await asyncio.gather(
            *(client.unload_adapter(name) for client in self.each()), return_exceptions=True
        )
        return [str(result) for result in results if isinstance(result, VllmError)]

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients.values()))

    def each(self) -> list[VllmClient]:
        """Those that are not away; all of them where none is left."""
        urls = self._servers.urls if self._servers else tuple(self._clients)
        for url in urls:
            if url not in self._clients:  # those that have left stay: their last answers may be under way
                self._clients[url] = VllmClient(url, self._key)
        return [self._clients[url] for url in urls if url not in self.away] or [
            self._clients[url] for url in urls
        ]


async def _base_of(client: VllmClient) -> ServedModel:
    return base_model(await client.models(), client.url)


def base_model(models: Sequence[ServedModel], url: str) -> ServedModel:
    """The served model that is nobody's adapter."""
    for model in models:
        if model.parent is None:
            return model
    raise VllmUnreachable(f"vLLM at {url} lists no base model.")
