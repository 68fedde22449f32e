"""Leases: at most one process does a thing at a time, and a crash frees it after a while.

In: a name, who wants it and for how long. Out: whether they have it.
Does not know what a lease is for. Processes on one machine share a clock; that is enough here.
"""

from __future__ import annotations

from store.errors import StoreError
from store.part import Part


class Leases(Part):
    def acquire_lease(self, name: str, holder: str, ttl_s: float) -> bool:
        """Take the lease, or renew it, for `ttl_s` seconds from now; False when someone else holds it."""
        if ttl_s <= 0:
            raise StoreError(f"A lease has to last longer than 0 s, not {ttl_s} s.")
        now = self._clock()
        with self._file.writing() as transaction:
            # rowcount is 0 when the WHERE keeps another holder's lease that still runs.
            cursor = transaction.execute(
                """INSERT INTO leases (name, holder, expires_at) VALUES (?, ?, ?)
                   ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
                   WHERE leases.holder = excluded.holder OR leases.expires_at <= ?""",
                [name, holder, now + ttl_s, now],
            )
            return cursor.rowcount > 0

    def release_lease(self, name: str, holder: str) -> None:
        """Give the lease back; someone else's lease stays."""
        with self._file.writing() as transaction:
            transaction.execute("DELETE FROM leases WHERE name = ? AND holder = ?", [name, holder])

    def lease(self, name: str) -> tuple[str, float] | None:
        """Who has the lease and when it expires (UTC seconds); None when it is free or expired."""
        query = "SELECT * FROM leases WHERE name = ? AND expires_at > ?"
        with self._file.reading() as transaction:
            row = transaction.row(query, [name, self._clock()])
        return (row["holder"], row["expires_at"]) if row else None
