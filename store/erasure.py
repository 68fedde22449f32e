"""Erases what one person wrote, as an owner of conversations, a rater or a reviewer, in one transaction.

Examples that came from the person leave every dataset, whose hash then no longer fits, so that nobody trains on the
rest by accident. A deployment whose adapter saw them is never served again: the base model with the full prompt takes
over. Backups keep what they have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from store.audit import AuditAction, record
from store.columns import from_json, ids_json, to_json
from store.connection import Transaction
from store.deployments import Deployments
from store.errors import Conflict, NotFound
from store.records import DeploymentStatus
from store.repository import Repository
from store.search import purge_deleted_words

# Conversations that the person owns, and examples that came from them or that the person wrote or approved of.
_OWNED = "SELECT id FROM conversations WHERE owner = ?"
_THEIRS = "(conversation_id IN (SELECT value FROM json_each(?)) OR rater = ?)"
_DATASETS = f"SELECT DISTINCT dataset_id AS id FROM dataset_examples WHERE {_THEIRS}"
_RUNS = "SELECT * FROM runs WHERE dataset_id IN (SELECT value FROM json_each(?)) ORDER BY id"
_DEPLOYED = "SELECT * FROM deployments WHERE adapter IN (SELECT value FROM json_each(?)) ORDER BY id"
_BASE = """
    SELECT id FROM deployments WHERE assistant_id = ? AND adapter IS NULL AND variant = 0 AND status <> 'rejected'
    ORDER BY prompt_id = ? DESC, id DESC LIMIT 1"""
_REJECT = "UPDATE deployments SET status = 'rejected', reason = ? WHERE id = ?"
# A run that had too few examples has no dataset, and may quote an approved text.
_CLEAR_OTHERS = "UPDATE runs SET message = ? WHERE dataset_id IS NULL AND message LIKE '%“%'"
# What an adapter that learned from the person answered may be in the person's words.
_FORGET_REQUESTS = "DELETE FROM judgement_requests WHERE run_id IN (SELECT value FROM json_each(?))"
# One that came in with a file is nothing but the decision, and the answer of an adapter of which nothing is known here.
_FORGET_DECIDED = "DELETE FROM judgement_requests WHERE decided_by = ? AND run_id IS NULL"
_FORGET_GATE_ANSWERS = "DELETE FROM gate_answers WHERE run_id IN (SELECT value FROM json_each(?))"
_UNDECIDE = (
    "UPDATE judgement_requests SET accepted = NULL, decided_by = '', decided_at = NULL WHERE decided_by = ?"
)
_JUDGED = "accepted IS NOT NULL AND decided_by = ?"
# A rater's correction that a reviewer took over is still in the rater's words: it goes with the rater.
_DECISIONS = """(reviewer = ? OR (correction IS NOT NULL AND EXISTS (
    SELECT 1 FROM ratings r WHERE r.message_id = decisions.message_id AND r.rater = ?
        AND trim(r.correction) = trim(decisions.correction))))"""
_REASON = "its adapter learned from what was erased"
_CLEARED = "What this run said was erased, together with some of what it was trained on."


@dataclass(frozen=True)
class Erased:
    """Counts what was erased, and names the adapters and runs that had seen it.

    `assistants` are those whose base model answers again because of that.
    """

    conversations: int
    ratings: int
    decisions: int
    judgement_requests: int  # that the person decided; those of this store are asked about again
    examples: int
    adapters: tuple[str, ...]
    runs: tuple[int, ...]
    assistants: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(
            self.conversations or self.ratings or self.decisions or self.judgement_requests or self.examples
        )


class Erasures(Repository):
    def preview(self, person: str) -> Erased:
        """Return what `erase` would erase now."""
        with self._file.reading() as transaction:
            return _found(transaction, person)

    def erase(self, person: str) -> Erased:
        """Erase it. Raises NotFound when nothing is the person's, and Conflict while a retrain on it is running."""
        with self._file.writing() as transaction:
            found = _found(transaction, person)
            if not found:
                raise NotFound(
                    f"Nobody called {person!r} owns a conversation, gave a rating or reviewed. Names are "
                    "case-sensitive."
                )
            self._stop_serving(transaction, found)
            owned = ids_json(row["id"] for row in transaction.rows(_OWNED, [person]))
            for row in transaction.rows(_RUNS, [to_json(_datasets(transaction, owned, person))]):
                _clear_quotes(transaction, row["id"], from_json(row["report"]))
            transaction.execute(_CLEAR_OTHERS, [_CLEARED])
            transaction.execute(f"DELETE FROM dataset_examples WHERE {_THEIRS}", [owned, person])
            transaction.execute(f"DELETE FROM decisions WHERE {_DECISIONS}", [person, person])
            transaction.execute("DELETE FROM ratings WHERE rater = ?", [person])
            transaction.execute(_FORGET_REQUESTS, [to_json(found.runs)])
            transaction.execute(_FORGET_DECIDED, [person])
            transaction.execute(_FORGET_GATE_ANSWERS, [to_json(found.runs)])
            transaction.execute(_UNDECIDE, [person])
            transaction.execute("DELETE FROM conversations WHERE owner = ?", [person])
            purge_deleted_words(transaction)
            counts = {name: getattr(found, name) for name in ("conversations", "ratings", "decisions")}
            detail = counts | {"adapters": len(found.adapters)}
            record(transaction, self._clock(), AuditAction.ERASED, person, detail)
            return found

    def _stop_serving(self, transaction: Transaction, found: Erased) -> None:
        deployments = self._other(Deployments)
        for assistant_id in found.assistants:
            active = deployments.active(assistant_id)
            base = transaction.row(_BASE, [assistant_id, active.prompt_id if active else None])
            if base is None:
                raise Conflict(
                    f"{assistant_id!r} has no deployment of the base model that could answer instead. Save its prompt "
                    "once more on the Prompt page, then erase."
                )
            deployments.activate(base["id"])
        for row in transaction.rows(_DEPLOYED, [ids_json(found.adapters)]):
            transaction.execute(_REJECT, [_REASON, row["id"]])


def _found(transaction: Transaction, person: str) -> Erased:
    if not person:  # the teacher's own answers have no rater
        raise NotFound("Nobody is called “”. Give the name of an owner or of a rater.")
    owned = ids_json(row["id"] for row in transaction.rows(_OWNED, [person]))
    runs = transaction.rows(_RUNS, [to_json(_datasets(transaction, owned, person))])
    for run in runs:
        if run["status"] == "running":
            raise Conflict(
                f"Run {run['id']} of {run['assistant_id']!r} is training on it now. Wait until it has ended, or stop "
                "the app, then erase."
            )
    adapters = tuple(dict.fromkeys(run["adapter"] for run in runs if run["adapter"]))
    serving = [
        row["assistant_id"]
        for row in transaction.rows(_DEPLOYED, [ids_json(adapters)])
        if row["status"] == DeploymentStatus.ACTIVE
    ]
    return Erased(
        conversations=_count(transaction, "conversations", "owner = ?", person),
        ratings=_count(transaction, "ratings", "rater = ?", person),
        decisions=_count(transaction, "decisions", _DECISIONS, person, person),
        judgement_requests=_count(transaction, "judgement_requests", _JUDGED, person),
        examples=_count(transaction, "dataset_examples", _THEIRS, owned, person),
        adapters=adapters,
        runs=tuple(run["id"] for run in runs),
        assistants=tuple(serving),
    )


def _datasets(transaction: Transaction, owned: str, person: str) -> list[int]:
    return [row["id"] for row in transaction.rows(_DATASETS, [owned, person])]


def _count(transaction: Transaction, table: str, condition: str, *values: str) -> int:
    return int(transaction.rows(f"SELECT count(*) AS n FROM {table} WHERE {condition}", values)[0]["n"])


def _clear_quotes(transaction: Transaction, run_id: int, report: dict[str, Any]) -> None:
    """Clear what quotes answers in a run, its message and guards; figures stay."""
    gate = dict(report.get("gate") or {})
    gate.pop("guards", None)
    gate.pop("reasons", None)
    gate["variants"] = [
        {k: v for k, v in variant.items() if k != "guards"} for variant in gate.get("variants", ())
    ]
    cleared = {**report, "gate": gate} if report.get("gate") else report
    change = "UPDATE runs SET message = ?, report = ? WHERE id = ?"
    transaction.execute(change, [_CLEARED, to_json(cleared), run_id])
