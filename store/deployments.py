"""Keeps the adapters that a run published, and the deployments: which adapter and prompt variant answer an assistant.

Each change is one transaction, so a short prompt is never active without its adapter.
"""

from collections.abc import Iterable
from types import EllipsisType

from store.assistants import Prompts
from store.audit import AuditAction, Audits, Detail
from store.connection import Repository
from store.errors import Conflict
from store.records import Activation, Adapter, Deployment, DeploymentStatus


class Adapters(Repository):
    def add(self, name: str, assistant_id: str, run_id: int, path: str, manifest_hash: str) -> Adapter:
        """Record a published adapter. Raises Conflict for a name that was given before, or an unknown run."""
        adapter = Adapter(name, assistant_id, run_id, path, manifest_hash, self._clock())
        with self._file.writing() as transaction:
            transaction.insert("adapters", **vars(adapter))
        return adapter

    def all(self, assistant_id: str) -> list[Adapter]:
        """Return the assistant's adapters, oldest first."""
        query = "SELECT * FROM adapters WHERE assistant_id = ? ORDER BY created_at, run_id, name"
        return self._all(Adapter, query, [assistant_id])


class Deployments(Repository):
    def add(
        self,
        assistant_id: str,
        prompt_id: int,
        adapter: str | None,
        segment_ids: Iterable[str],
        variant: int,
        prompt_tokens: int,
        run_id: int | None = None,
        demonstrations: int = 0,
        copy_at: float | None = None,
    ) -> Deployment:
        """Save a candidate. Raises NotFound, and Conflict for another prompt's segments or assistant."""
        with self._file.writing() as transaction:
            prompt = self._other(Prompts).of(assistant_id, prompt_id)
            segment_ids = tuple(segment_ids)
            if unknown := sorted(set(segment_ids) - {segment.id for segment in prompt.segments}):
                raise Conflict(f"Prompt {prompt_id} has no segment {unknown[0]!r}. Use its own segment ids.")
            made = Deployment(
                *(0, assistant_id, prompt_id, adapter, segment_ids, variant, prompt_tokens),
                *(DeploymentStatus.CANDIDATE, self._clock(), run_id),
                demonstrations=demonstrations,
                copy_at=copy_at,
            )
            return self.get(transaction.insert("deployments", **vars(made) | {"id": None}))

    def activate(self, deployment_id: int, expect_active: int | None | EllipsisType = ...) -> Deployment:
        """Serve this deployment from now on and retire the one that was active.

        `expect_active` is what the caller saw as active (None: nothing); Conflict when that has changed
        meanwhile. Raises NotFound, and Conflict for a rejected deployment. An active one stays as it is.
        """
        with self._file.writing() as transaction:
            deployment = self.get(deployment_id)
            active = self.active(deployment.assistant_id)
            active_id = active.id if active else None
            if expect_active is not ... and expect_active != active_id:
                raise Conflict(
                    f"Deployment {deployment_id} was not activated: expected {expect_active} as active for "
                    f"{deployment.assistant_id!r}, but it is {active_id}. Look again and decide anew."
                )
            if deployment.status is DeploymentStatus.REJECTED:
                why = deployment.reason
                raise Conflict(f"Deployment {deployment_id} was rejected ({why}). Activate another.")
            if active_id == deployment_id:
                return deployment
            if active:
                self._retire(active.id, f"replaced by {deployment_id}")
            if deployment.activated_at is None:  # later activations keep it, or rollbacks could go in circles
                previous = "UPDATE deployments SET previous_id = ? WHERE id = ?"
                transaction.execute(previous, [active_id, deployment_id])
            self._serve(deployment_id, f"replaced {active_id}" if active else "first")
            if adapter := deployment.adapter:  # else a prompt was saved, which has its own line
                detail: Detail = {"deployment": deployment_id, "adapter": adapter, "replaced": active_id}
                self._other(Audits).record(AuditAction.PROMOTED, deployment.assistant_id, detail)
            return self.get(deployment_id)

    def reject(self, deployment_id: int, reason: str) -> Deployment:
        """Record why a candidate is not served. Raises NotFound, and Conflict for what is no candidate."""
        with self._file.writing() as transaction:
            status = self.get(deployment_id).status
            if status is not DeploymentStatus.CANDIDATE:
                raise Conflict(f"Deployment {deployment_id} is {status}; only a candidate can be rejected.")
            change = "UPDATE deployments SET status = 'rejected', reason = ? WHERE id = ?"
            transaction.execute(change, [reason, deployment_id])
            return self.get(deployment_id)

    def rollback(self, assistant_id: str, reason: str) -> Deployment:
        """Serve again what the active deployment replaced when it was first activated, and return that.

        What was rejected since then is passed over. Raises Conflict when nothing is active or left to serve.
        """
        with self._file.writing():
            active, previous = self.active(assistant_id), self.replaced(assistant_id)
            if active is None:
                raise Conflict(f"Cannot roll back {assistant_id!r}: no deployment is active.")
            if previous is None:
                raise Conflict(f"Cannot roll back {assistant_id!r}: deployment {active.id} replaced none.")
            self._retire(active.id, reason)
            self._serve(previous.id, f"rollback of {active.id}: {reason}")
            detail = {"deployment": active.id, "now": previous.id}
            self._other(Audits).record(AuditAction.ROLLED_BACK, assistant_id, detail)
            return self.get(previous.id)

    def replaced(self, assistant_id: str) -> Deployment | None:
        """Return what the active deployment replaced, which a rollback serves again; None where there is nothing."""
        query = """WITH RECURSIVE path (id) AS (
                SELECT previous_id FROM deployments WHERE assistant_id = ? AND status = 'active'
                UNION SELECT d.previous_id FROM path JOIN deployments d USING (id) WHERE d.status = 'rejected')
            SELECT d.* FROM path JOIN deployments d USING (id) WHERE d.status <> 'rejected'"""
        return self._first(Deployment, query, [assistant_id])

    def active(self, assistant_id: str) -> Deployment | None:
        """Return what serves the assistant now, if anything does."""
        query = "SELECT * FROM deployments WHERE assistant_id = ? AND status = 'active'"
        return self._first(Deployment, query, [assistant_id])

    def served(self, prompt_ids: Iterable[int]) -> list[Deployment]:
        """Return what has served these versions of a prompt, the last one first."""
        query = """SELECT d.* FROM json_each(?) wanted JOIN deployments d ON d.prompt_id = wanted.value
            WHERE d.activated_at IS NOT NULL AND d.status <> 'rejected' ORDER BY d.activated_at DESC, d.id DESC"""
        return self._all(Deployment, query, [list(prompt_ids)])

    def without_adapter(self, deployment: Deployment) -> Deployment:
        """Return that of the same prompt in full by the base model, with which every prompt begins; else itself."""
        base = "adapter IS NULL AND variant = 0"
        query = f"SELECT * FROM deployments WHERE prompt_id = ? AND {base} ORDER BY id"
        return self._first(Deployment, query, [deployment.prompt_id]) or deployment

    def get(self, id: int) -> Deployment:
        """Raises NotFound."""
        return self._one(Deployment, "SELECT * FROM deployments WHERE id = ?", [id], f"deployment {id}")

    def all(self, assistant_id: str) -> list[Deployment]:
        """Return all of the assistant's deployments, oldest first."""
        query = "SELECT * FROM deployments WHERE assistant_id = ? ORDER BY id"
        return self._all(Deployment, query, [assistant_id])

    def activations(self, assistant_id: str) -> list[Activation]:
        """Return every activation and rollback, oldest first."""
        query = """SELECT a.* FROM deployments d JOIN activations a ON a.deployment_id = d.id
                   WHERE d.assistant_id = ? ORDER BY a.seq"""
        return self._all(Activation, query, [assistant_id])

    def _retire(self, id: int, reason: str) -> None:
        self._execute("UPDATE deployments SET status = 'retired', reason = ? WHERE id = ?", [reason, id])

    def _serve(self, id: int, reason: str) -> None:
        now = self._clock()
        change = "UPDATE deployments SET status = 'active', activated_at = ?, reason = '' WHERE id = ?"
        self._execute(change, [now, id])
        self._execute(
            "INSERT INTO activations (deployment_id, at, reason) VALUES (?, ?, ?)", [id, now, reason]
        )
