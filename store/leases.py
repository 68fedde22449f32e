"""Keeps leases: at most one process does a thing at a time, and a crash frees it after a while.

Processes on one machine share a clock, which is what expiry relies on.
"""

from __future__ import annotations

from collections.abc import Callable

from store.connection import Transaction
from store.errors import LeaseLost, StoreError
from store.repository import Repository


class Leases(Repository):
    def acquire(self, name: str, holder: str, ttl_s: float) -> bool:
        """Take the lease, or renew it, for `ttl_s` seconds from now; False when someone else holds it."""
        if ttl_s <= 0:
            raise StoreError(f"A lease has to last longer than 0 s, not {ttl_s} s.")
        now = self._clock()
        # No row changes when the WHERE keeps another holder's lease that still runs.
        take = """INSERT INTO leases (name, holder, expires_at) VALUES (?, ?, ?)
            ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
            WHERE leases.holder = excluded.holder OR leases.expires_at <= ?"""
        return self._execute(take, [name, holder, now + ttl_s, now]) > 0

    def renew(self, name: str, holder: str, ttl_s: float) -> bool:
        """Keep the lease for `ttl_s` seconds from now; False once somebody else took it, also if they are done."""
        change = "UPDATE leases SET expires_at = ? WHERE name = ? AND holder = ?"
        return self._execute(change, [self._clock() + ttl_s, name, holder]) > 0

    def release(self, name: str, holder: str) -> None:
        """Give the lease back; someone else's lease stays."""
        self._execute("DELETE FROM leases WHERE name = ? AND holder = ?", [name, holder])

    def get(self, name: str) -> tuple[str, float] | None:
        """Return who has the lease and when it expires (UTC seconds); None when it is free or expired."""
        query = "SELECT * FROM leases WHERE name = ? AND expires_at > ?"
        return self._first(lambda row: (row["holder"], row["expires_at"]), query, [name, self._clock()])


def held_by(name: str, holder: str) -> Callable[[Transaction], None]:
    """Return a check for `DataFile.checked` that raises LeaseLost once somebody else took the lease.

    It runs within each write's own transaction, so that a process that slept between two lines changes nothing when it
    wakes. A lease that ran out and that nobody took is still its holder's.
    """

    def check(transaction: Transaction) -> None:
        row = transaction.row("SELECT holder FROM leases WHERE name = ?", [name])
        if row is None or row["holder"] != holder:
            raise LeaseLost(
                f"Nothing was changed: this process slept past its lease “{name}”, and another has taken its place."
            )

    return check
