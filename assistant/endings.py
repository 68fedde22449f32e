"""The ends of answers → the store, which may be full or locked just then: tried again until they are there.

In: how an answer ended. Out: nothing but the reasons for which it is not stored yet. Place in the flow: the last step
of a chat turn. An end is held in memory meanwhile; where the app ends first, the message stays without its text and
counts as failed from the next start on. Does not know who watches.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from store import Store, StoreError
from store.errors import NotSaved
from store.records import MessageStatus, Usage

_PAUSE_S = 2.0


@dataclass(frozen=True)
class Ending:
    """Of the message `id`: all of its text, and what it cost where vLLM has said so."""

    id: str
    text: str
    status: MessageStatus
    usage: Usage | None = None


class Endings:
    """Of every conversation on one store."""

    def __init__(self, store: Store):
        self._store = store
        self._left: set[asyncio.Task[None]] = set()

    async def put(self, ending: Ending) -> AsyncGenerator[str]:
        """Until it is stored; gives the reason each time it was not. Raises what trying again would not change.

        Who is interrupted while waiting for it has to `leave` the ending.
        """
        while True:
            try:
                await asyncio.to_thread(self._save, ending)
                return
            except NotSaved as error:
                yield str(error)
            await asyncio.sleep(_PAUSE_S)

    async def hand_over(self, ending: Ending) -> None:
        """Store it, or leave it to be stored as soon as the store takes it; the event loop goes on meanwhile."""
        try:
            await asyncio.to_thread(self._save, ending)
        except NotSaved:
            self._keep(ending)
        except StoreError:
            return  # deleted meanwhile

    def leave(self, ending: Ending) -> str:
        """The same where nothing may be awaited: where the store takes it, it is there when this returns.

        Returns why it is not stored yet; nothing where it is.
        """
        try:
            self._save(ending)
        except NotSaved as error:
            self._keep(ending)
            return str(error)
        except StoreError:
            pass  # deleted meanwhile, or stored by the thread for which `put` could not wait
        return ""

    def _keep(self, ending: Ending) -> None:
        task = asyncio.get_running_loop().create_task(self._follow(ending))
        self._left.add(task)  # the loop itself holds it weakly
        task.add_done_callback(self._left.discard)

    def _save(self, ending: Ending) -> None:
        self._store.messages.finish(ending.id, ending.text, ending.status, ending.usage)

    async def _follow(self, ending: Ending) -> None:
        try:
            async for _ in self.put(ending):
                pass
        except StoreError:
            return
