"""Adapters: which were published, where they lie and from which run they come.

In: what the trainer published. Out: `Adapter`; a name is given out once and never again.
Does not read the files.
"""

from __future__ import annotations

import sqlite3

from store.errors import Conflict
from store.records import Adapter
from store.repository import Repository


class Adapters(Repository):
    def add(self, name: str, assistant_id: str, run_id: int, path: str, manifest_hash: str) -> Adapter:
        """Note a published adapter. Raises Conflict for a taken name or another assistant's run, NotFound."""
        with self._file.writing() as transaction:
            if transaction.row("SELECT 1 FROM adapters WHERE name = ?", [name]):
                raise Conflict(
                    f"An adapter {name!r} exists already. Adapters are immutable; use the next name."
                )
            run = transaction.one("SELECT assistant_id FROM runs WHERE id = ?", [run_id], f"run {run_id}")
            if run["assistant_id"] != assistant_id:
                raise Conflict(f"Run {run_id} belongs to {run['assistant_id']!r}, not {assistant_id!r}.")
            columns = {"name": name, "assistant_id": assistant_id, "run_id": run_id, "path": path}
            transaction.insert("adapters", **columns, manifest_hash=manifest_hash, created_at=self._clock())
            return self.get(name)

    def get(self, name: str) -> Adapter:
        """Raises NotFound."""
        with self._file.reading() as transaction:
            return _adapter(
                transaction.one("SELECT * FROM adapters WHERE name = ?", [name], f"adapter {name!r}")
            )

    def all(self, assistant_id: str) -> list[Adapter]:
        """The assistant's adapters, oldest first."""
        query = "SELECT * FROM adapters WHERE assistant_id = ? ORDER BY created_at, run_id, name"
        with self._file.reading() as transaction:
            rows = transaction.rows(query, [assistant_id])
        return [_adapter(row) for row in rows]


def _adapter(row: sqlite3.Row) -> Adapter:
    return Adapter(
        name=row["name"],
        assistant_id=row["assistant_id"],
        run_id=row["run_id"],
        path=row["path"],
        manifest_hash=row["manifest_hash"],
        created_at=row["created_at"],
    )
