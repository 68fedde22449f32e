"""Saves how answers ended."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial

from store import Store, StoreError
from store.errors import NotSaved
from store.records import Message

_SAVE_AGAIN_S = 2.0


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
        end = (final.id, final.text, final.status, final.usage, final.finish_reason)
        self._store.group_commit(partial(self._store.messages.finish, *end))
