"""The trainer's lease: of two trainers on one data directory, one works and the other is refused."""

from __future__ import annotations

import os
import threading
import uuid

import psutil

from store import Store, StoreError

NAME = "trainer"
_TTL_S = 60.0
# A process number means something in its own namespace only: a container's trainer is not dead because it is not seen.
_NAMESPACE = os.readlink("/proc/self/ns/pid").strip("pid:[]")


class LeaseTaken(Exception):
    """Another trainer is at work; the message says which."""


class Lease:
    """Holds a lease of the store and renews it from a thread until the context ends."""

    def __init__(self, store: Store, name: str = NAME):
        self._store, self._name = store, name
        self._holder = f"{os.getpid()}-{_NAMESPACE}-{uuid.uuid4().hex[:8]}"
        self._done = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name=f"lease:{name}", daemon=True)

    def __enter__(self) -> Lease:
        if not self._acquire():
            other = self._store.leases.get(self._name)
            process = other[0].partition("-")[0] if other else "unknown"
            raise LeaseTaken(
                f"Another trainer (process {process}) is at work on this data directory. Wait until it is done, or "
                "stop it."
            )
        self._renewer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._renewer.join(timeout=5.0)
        self._store.leases.release(self._name, self._holder)

    @property
    def store(self) -> Store:
        """The store whose writes raise LeaseLost once another trainer has taken the lease (fencing)."""
        return self._store.under_lease(self._name, self._holder)

    def still_held(self) -> bool:
        """Whether nobody has taken it meanwhile, say while this process was suspended for longer than its lease."""
        return self._store.leases.renew(self._name, self._holder, _TTL_S)

    def _acquire(self) -> bool:
        """Take the lease; that of a process which was killed counts as free, so that nobody waits for it to expire."""
        if self._store.leases.acquire(self._name, self._holder, _TTL_S):
            return True
        other = self._store.leases.get(self._name)
        if other is not None and _is_dead(other[0]):
            self._store.leases.release(self._name, other[0])
        return self._store.leases.acquire(self._name, self._holder, _TTL_S)

    def _renew(self) -> None:
        while not self._done.wait(_TTL_S / 3):
            try:
                self._store.leases.renew(self._name, self._holder, _TTL_S)
            except StoreError:  # locked for a moment; the next round is in time
                continue


def is_taken(store: Store) -> bool:
    """Whether a trainer that may still run has the lease."""
    other = store.leases.get(NAME)
    return other is not None and not _is_dead(other[0])


def _is_dead(holder: str) -> bool:
    """Whether the holder's process has ended; False where that cannot be known."""
    number, _, rest = holder.partition("-")
    return rest.startswith(f"{_NAMESPACE}-") and not psutil.pid_exists(int(number))
