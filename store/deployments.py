"""Keeps the adapters that a run published, and the deployments: which adapter and prompt variant answer an assistant.

Each change is one transaction, so a short prompt is never active without its adapter.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import EllipsisType

from store.assistants import need_prompt
from store.audit import AuditAction, Detail, record
from store.columns import mapper
from store.connection import Repository, Transaction
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
        return self._all(_adapter, query, [assistant_id])


_adapter = mapper(Adapter)


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
    ) -> Deployment:
        """Save a candidate. Raises NotFound, and Conflict for another prompt's segments or assistant."""
        with self._file.writing() as transaction:
            prompt = need_prompt(transaction, prompt_id, assistant_id)
            segment_ids = tuple(segment_ids)
            if unknown := sorted(set(segment_ids) - {segment.id for segment in prompt.segments}):
                raise Conflict(
                    f"Prompt {prompt_id} has no segment {unknown[0]!r} to keep. Use its own segment ids."
                )
            id = transaction.insert(
                "deployments",
                assistant_id=assistant_id,
                prompt_id=prompt_id,
                adapter=adapter,
                segment_ids=segment_ids,
                variant=variant,
                demonstrations=demonstrations,
                prompt_tokens=prompt_tokens,
                status=DeploymentStatus.CANDIDATE.value,
                created_at=self._clock(),
                run_id=run_id,
            )
            return self.get(id)

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
                raise Conflict(
                    f"Deployment {deployment_id} was rejected ({deployment.reason}). Activate another."
                )
            if active_id == deployment_id:
                return deployment
            if active:
                self._retire(transaction, active.id, f"replaced by {deployment_id}")
            if deployment.activated_at is None:  # later activations keep it, or rollbacks could go in circles
                previous = "UPDATE deployments SET previous_id = ? WHERE id = ?"
                transaction.execute(previous, [active_id, deployment_id])
            self._serve(transaction, deployment_id, f"replaced {active_id}" if active else "first")
            if deployment.adapter is not None:  # else a prompt was saved, which has its own line
                detail: Detail = {"deployment": deployment_id, "adapter": deployment.adapter}
                detail = {**detail, "replaced": active_id}
                record(transaction, self._clock(), AuditAction.PROMOTED, deployment.assistant_id, detail)
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
        with self._file.writing() as transaction:
            active, previous = self.active(assistant_id), self.replaced(assistant_id)
            if active is None:
                raise Conflict(f"Cannot roll back {assistant_id!r}: no deployment is active.")
            if previous is None:
                raise Conflict(f"Cannot roll back {assistant_id!r}: deployment {active.id} replaced none.")
            self._retire(transaction, active.id, reason)
            self._serve(transaction, previous.id, f"rollback of {active.id}: {reason}")
            detail = {"deployment": active.id, "now": previous.id}
            record(transaction, self._clock(), AuditAction.ROLLED_BACK, assistant_id, detail)
            return self.get(previous.id)

    def replaced(self, assistant_id: str) -> Deployment | None:
        """Return what the active deployment replaced, which a rollback serves again; None where there is nothing."""
        return self._first(_deployment, _REPLACED, [assistant_id])

    def active(self, assistant_id: str) -> Deployment | None:
        """Return what serves the assistant now, if anything does."""
        return self._first(_deployment, _ACTIVE, [assistant_id])

    def served(self, prompt_ids: Iterable[int]) -> list[Deployment]:
        """Return what has served these versions of a prompt, the last one first."""
        query = """SELECT d.* FROM json_each(?) wanted JOIN deployments d ON d.prompt_id = wanted.value
            WHERE d.activated_at IS NOT NULL AND d.status <> 'rejected' ORDER BY d.activated_at DESC, d.id DESC"""
        return self._all(_deployment, query, [list(prompt_ids)])

    def without_adapter(self, deployment: Deployment) -> Deployment:
        """Return that of the same prompt in full by the base model, with which every prompt begins; else itself."""
        query = (
            "SELECT * FROM deployments WHERE prompt_id = ? AND adapter IS NULL AND variant = 0 ORDER BY id"
        )
        return self._first(_deployment, query, [deployment.prompt_id]) or deployment

    def get(self, id: int) -> Deployment:
        """Raises NotFound."""
        return self._one(_deployment, "SELECT * FROM deployments WHERE id = ?", [id], f"deployment {id}")

    def all(self, assistant_id: str) -> list[Deployment]:
        """Return all of the assistant's deployments, oldest first."""
        return self._all(
            _deployment, "SELECT * FROM deployments WHERE assistant_id = ? ORDER BY id", [assistant_id]
        )

    def activations(self, assistant_id: str) -> list[Activation]:
        """Return every activation and rollback, oldest first."""
        query = """SELECT a.* FROM deployments d JOIN activations a ON a.deployment_id = d.id
                   WHERE d.assistant_id = ? ORDER BY a.seq"""
        return self._all(_activation, query, [assistant_id])

    def _retire(self, transaction: Transaction, deployment_id: int, reason: str) -> None:
        change = "UPDATE deployments SET status = 'retired', reason = ? WHERE id = ?"
        transaction.execute(change, [reason, deployment_id])

    def _serve(self, transaction: Transaction, deployment_id: int, reason: str) -> None:
        now = self._clock()
        change = "UPDATE deployments SET status = 'active', activated_at = ?, reason = '' WHERE id = ?"
        transaction.execute(change, [now, deployment_id])
        transaction.insert("activations", deployment_id=deployment_id, at=now, reason=reason)


_REPLACED = """
    WITH RECURSIVE path (id) AS (
        SELECT previous_id FROM deployments WHERE assistant_id = ? AND status = 'active'
        UNION SELECT d.previous_id FROM path JOIN deployments d USING (id) WHERE d.status = 'rejected')
    SELECT d.* FROM path JOIN deployments d USING (id) WHERE d.status <> 'rejected'"""
_ACTIVE = "SELECT * FROM deployments WHERE assistant_id = ? AND status = 'active'"
_activation = mapper(Activation)
_deployment = mapper(Deployment)
