"""What people were told is saved, compared with what the store has after a kill."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from assistant.adapter_files import BadAdapter, verify
from assistant.serving import MAX_RANK
from benchmarks.faults.scene import ASSISTANT
from store import Store
from store.errors import NotFound
from store.records import Deployment, RunStatus

_LOOKED_UP = {"message", "rating"}
_KEPT_REASONS = 12


@dataclass(frozen=True)
class Saved:
    """What a person was told is saved: the kind, its id, and the digest of a text that has to be there with it.

    `message_id` is that of a rating's message.
    """

    kind: str
    id: str
    digest: str = ""
    message_id: str = ""


def digest(text: str) -> str:
    """Short, so that a pipe never keeps the writer waiting."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_stored(store: Store, saved: Saved) -> bool:
    """Whether what was acknowledged is there once, with the same text."""
    try:
        if saved.kind == "message":
            return digest(store.messages.get(saved.id).text) == saved.digest
        found = [rating for rating in store.ratings.all(saved.message_id) if rating.id == saved.id]
    except NotFound:
        return False
    return [digest(rating.comment) for rating in found] == [saved.digest]


def bad_adapter(active: Deployment | None, adapters: Path, base: str) -> list[str]:
    """Why the active adapter cannot be served, if it cannot."""
    try:
        if active is not None and active.adapter is not None:
            verify(adapters / active.adapter, base, MAX_RANK)
    except BadAdapter as error:
        return [str(error)]
    return []


@dataclass
class Ledger:
    """`failures` counts the messages that people got when something did not work, by their first words."""

    acknowledged: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    lock_errors: list[str] = field(default_factory=list)
    step: str = ""  # of the process that swaps
    swaps: list[str] = field(default_factory=list)  # deployments whose swap was acknowledged, oldest first
    _new: list[Saved] = field(default_factory=list)

    def receive(self, pipe: Connection) -> None:
        """Take in what was sent since."""
        with suppress(EOFError, OSError):  # the last one was cut off: nobody was told
            while pipe.poll():
                self._take(pipe.recv())

    def _take(self, event: Saved) -> None:
        if event.kind == "step":
            self.step = event.id
        elif event.kind == "failure":
            self.failures[" ".join(event.id.split()[:6])] += 1
        elif event.kind == "lock error":
            self.lock_errors.append(event.id)
        else:
            self.acknowledged[event.kind] += 1
            if event.kind == "swap":
                self.swaps.append(event.id)
            elif event.kind in _LOOKED_UP:
                self._new.append(event)

    def check(self, store: Store, adapters: Path, base: str, whole_file: bool) -> None:
        """Everything that is new must be there once, all swaps in their order, and the newest is active and whole.

        More swaps may be there than were acknowledged: one is saved before its adapter's predecessor is unloaded.
        """
        self.lost += [f"{one.kind} {one.id}" for one in self._new if not is_stored(store, one)]
        self._new.clear()
        active, log = _served(store)
        rest = iter(log)
        if lost := next((one for one in self.swaps if one not in rest), None):
            self.lost.append(f"swap {lost}")
        if active is None or log[-1] != str(active.id):
            self.wrong.append(f"{log[-1]} was swapped in last, {active and active.id} is active")
        self.wrong += bad_adapter(active, adapters, base)
        self.wrong += store.maintenance.check() if whole_file else []

    def check_end(self, store: Store) -> None:
        """With nobody at work nothing is left half done but what the next start sweeps up."""
        store.messages.end_streaming()
        store.runs.interrupt_running("The benchmark is over.")
        if any(run.status is RunStatus.RUNNING for run in store.runs.all(ASSISTANT)):
            self.wrong.append("a run is left running")
        self.wrong += store.maintenance.check()

    @property
    def sound(self) -> bool:
        return not (self.lost or self.wrong or self.lock_errors)

    def as_record(self) -> dict[str, Any]:
        return {
            "acknowledged": dict(self.acknowledged),
            "lost": self.lost,
            "wrong": self.wrong,
            "lock_errors_shown": self.lock_errors,
            "failures": dict(self.failures.most_common(_KEPT_REASONS)),
        }


def _served(store: Store) -> tuple[Deployment | None, Sequence[str]]:
    """What is active, and every deployment that was, oldest first; of one moment, though others swap meanwhile."""
    while True:
        log, active = store.deployments.activations(ASSISTANT), store.deployments.active(ASSISTANT)
        if len(store.deployments.activations(ASSISTANT)) == len(log):
            return active, [str(item.deployment_id) for item in log]
