"""Admission control: background requests (gate, parity, timing) wait while a person's answer is being written.

vLLM computes all running requests in every step, so a question that comes beside a gate's waits for what they read and
write. It is enough to admit few of those beside people, and none while an answer is in flight; this works with any
vLLM, since nothing of it has to be changed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

# A decoding step with an adapter costs nearly the same for 1 and for 32 answers.
_AT_ONCE = 32
_BESIDE_PEOPLE = 4
# So long after the last answer that was seen, nobody chats any more.
_QUIET_AFTER_S = 30.0
_POLL_S = 0.05
# Where people ask without a pause, one background request is admitted after this wait, so that a gate goes on.
_LONGEST_WAIT_S = 5.0


class AdmissionControl:
    """An async context manager around each background request.

    `count_answers` counts the answers that people are waiting for, whichever process writes them; it is called up to
    20 times a second.
    """

    def __init__(
        self,
        count_answers: Callable[[], int],
        servers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._count_answers, self._servers, self._clock = count_answers, servers, clock
        self._turn = asyncio.Lock()  # one at a time asks to be admitted, in the order of coming
        self._running = 0
        self._people_seen_at = clock()

    async def __aenter__(self) -> None:
        async with self._turn:
            since = self._clock()
            while not self._admits(self._clock() - since):
                await asyncio.sleep(_POLL_S)
            self._running += 1

    async def __aexit__(self, *_: object) -> None:
        self._running -= 1

    def _admits(self, waited_s: float) -> bool:
        now = self._clock()
        if self._count_answers():
            self._people_seen_at = now
            return self._running == 0 and waited_s >= _LONGEST_WAIT_S
        quiet = now - self._people_seen_at > _QUIET_AFTER_S
        return self._running < self._servers * (_AT_ONCE if quiet else _BESIDE_PEOPLE)
