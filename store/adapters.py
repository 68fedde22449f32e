"""Published adapters: a name is given out once and never again."""

from __future__ import annotations

from store.errors import Conflict
from store.records import Adapter
from store.repository import Repository
from store.rows import mapper


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
        return self._one(_adapter, "SELECT * FROM adapters WHERE name = ?", [name], f"adapter {name!r}")

    def all(self, assistant_id: str) -> list[Adapter]:
        """The assistant's adapters, oldest first."""
        query = "SELECT * FROM adapters WHERE assistant_id = ? ORDER BY created_at, run_id, name"
        return self._all(_adapter, query, [assistant_id])


_adapter = mapper(Adapter)
