"""Saves how answers ended, trying again while the store is full or locked.

An end is held in memory meanwhile. Where the app ends first, the message stays without its text and counts as failed
from the next start on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

from store import Store, StoreError
from store.errors import NotSaved
from store.records import MessageStatus, Usage

_PAUSE_S = 2.0


@dataclass(frozen=True)
class FinalMessage:
    """The end of message `id`: all of its text, and what it cost where vLLM has said so."""

    id: str
    text: str
    status: MessageStatus
    usage: Usage | None = None


class MessageFinalizer:
    """Finalizes the messages of every conversation of one store."""

    def __init__(self, store: Store):
        self._store = store
        self._pending: set[asyncio.Task[None]] = set()

    async def save(self, final: FinalMessage) -> AsyncGenerator[str]:
        """Try until it is stored; yields the reason each time it was not. Raises what trying again would not change.

        A caller that is interrupted here has to call `save_now`.
        """
        while True:
            try:
                await asyncio.to_thread(self._write, final)
                return
            except NotSaved as error:
                yield str(error)
            await asyncio.sleep(_PAUSE_S)

    async def save_or_defer(self, final: FinalMessage) -> None:
        """Store it, now or as soon as the store takes it; the event loop goes on while another writer has the store."""
        try:
            await asyncio.to_thread(self._write, final)
        except NotSaved:
            self._defer(final)
        except StoreError:
            pass  # deleted meanwhile

    def save_now(self, final: FinalMessage) -> str:
        """The same where nothing may be awaited; returns why it is not stored yet, nothing where it is."""
        try:
            self._write(final)
        except NotSaved as error:
            self._defer(final)
            return str(error)
        except StoreError:
            pass  # deleted meanwhile, or stored by the thread that `save` could not wait for
        return ""

    def _write(self, final: FinalMessage) -> None:
        self._store.messages.finish(final.id, final.text, final.status, final.usage)

    def _defer(self, final: FinalMessage) -> None:
        task = asyncio.get_running_loop().create_task(self._save_later(final))
        self._pending.add(task)  # the loop itself holds it weakly
        task.add_done_callback(self._pending.discard)

    async def _save_later(self, final: FinalMessage) -> None:
        with suppress(StoreError):
            async for _ in self.save(final):
                pass
