"""Erases what one person wrote, as an owner of conversations, a rater or a reviewer, in one transaction.

Examples that came from the person leave every dataset, whose hash then no longer fits, so that nobody trains on the
rest by accident. A deployment whose adapter saw them is never served again: the base model with the full prompt takes
over. Backups keep what they have.
"""

import json
from dataclasses import dataclass
from typing import Any

from store.audit import AuditAction, Audits
from store.connection import Repository, Transaction
from store.deployments import Deployments
from store.errors import Conflict, NotFound
from store.search import purge_deleted_words

# Examples that came from the person's conversations, or that the person wrote or approved of.
_EXAMPLES = "(conversation_id IN (SELECT id FROM conversations WHERE owner = ?1) OR rater = ?1)"
# A rater's correction that a reviewer took over is still in the rater's words: it goes with the rater.
_DECISIONS = """(reviewer = ?1 OR (correction IS NOT NULL AND EXISTS (
    SELECT 1 FROM ratings r WHERE r.message_id = decisions.message_id AND r.rater = ?1
        AND trim(r.correction) = trim(decisions.correction))))"""
_RUNS = f"""
    SELECT * FROM runs WHERE dataset_id IN (SELECT dataset_id FROM dataset_examples WHERE {_EXAMPLES}) ORDER BY id"""
_BASE = """
    SELECT id FROM deployments WHERE assistant_id = ? AND adapter IS NULL AND variant = 0 AND status <> 'rejected'
    ORDER BY prompt_id = ? DESC, id DESC LIMIT 1"""
_REJECT = """
    UPDATE deployments SET status = 'rejected', reason = 'its adapter learned from what was erased'
    WHERE adapter IN (SELECT value FROM json_each(?))"""
_COUNTED = {
    "conversations": "conversations WHERE owner = ?1",
    "ratings": "ratings WHERE rater = ?1",
    "decisions": f"decisions WHERE {_DECISIONS}",
    "judgement_requests": "judgement_requests WHERE accepted IS NOT NULL AND decided_by = ?1",
    "examples": f"dataset_examples WHERE {_EXAMPLES}",
    "files": "api_files WHERE owner = ?1",
}
# In this order: each looks at what the next ones delete.
_OF_PERSON = (
    # What others have approved of too comes back when the trainer next looks.
    f"""DELETE FROM demonstrations WHERE message_id IN (SELECT message_id FROM ratings WHERE rater = ?1
        UNION ALL SELECT message_id FROM decisions WHERE {_DECISIONS})""",
    f"DELETE FROM dataset_examples WHERE {_EXAMPLES}",
    f"DELETE FROM decisions WHERE {_DECISIONS}",
    "DELETE FROM ratings WHERE rater = ?1",
    "UPDATE judgement_requests SET accepted = NULL, decided_by = '', decided_at = NULL WHERE decided_by = ?1",
    """DELETE FROM unrated_sums WHERE dataset_id IN (SELECT d.id FROM datasets d JOIN conversations c
        ON c.assistant_id = d.assistant_id WHERE c.owner = ?1)""",
    "DELETE FROM conversations WHERE owner = ?1",
    "DELETE FROM api_files WHERE owner = ?1",
)
_CLEARED = "What this run said was erased, together with some of what it was trained on."
# A run that had too few examples has no dataset, and may quote an approved text.
_CLEAR_OTHERS = "UPDATE runs SET message = ? WHERE dataset_id IS NULL AND message LIKE '%“%'"


@dataclass(frozen=True)
class Erased:
    """What was erased, the adapters and runs that saw it, and the assistants that the base model serves now."""

    conversations: int
    ratings: int
    decisions: int
    judgement_requests: int  # that the person decided; they are asked about again
    examples: int
    files: int  # that were uploaded through the API
    adapters: tuple[str, ...]
    runs: tuple[int, ...]
    assistants: tuple[str, ...]

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in _COUNTED)


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
            for assistant_id in found.assistants:
                self._serve_base(transaction, assistant_id)
            transaction.execute(_REJECT, [found.adapters])
            for run in transaction.rows(_RUNS, [person]):
                report = _without_quotes(json.loads(run["report"]))
                change = "UPDATE runs SET message = ?, report = ? WHERE id = ?"
                transaction.execute(change, [_CLEARED, report, run["id"]])
            transaction.execute(_CLEAR_OTHERS, [_CLEARED])
            # What an adapter that learned from the person answered may be in the person's words.
            for table in ("judgement_requests", "gate_answers"):
                of_runs = f"DELETE FROM {table} WHERE run_id IN (SELECT value FROM json_each(?))"
                transaction.execute(of_runs, [found.runs])
            for statement in _OF_PERSON:
                transaction.execute(statement, [person])
            counts = {name: getattr(found, name) for name in ("conversations", "ratings", "decisions")}
            detail = counts | {"adapters": len(found.adapters)}
            self._other(Audits).record(AuditAction.ERASED, person, detail)
        purge_deleted_words(self._file)
        return found

    def _serve_base(self, transaction: Transaction, assistant_id: str) -> None:
        deployments = self._other(Deployments)
        active = deployments.active(assistant_id)
        base = transaction.row(_BASE, [assistant_id, active.prompt_id if active else None])
        if base is None:
            raise Conflict(
                f"{assistant_id!r} has no deployment of the base model that could answer instead. Save its prompt "
                "once more on the Prompt page, then erase."
            )
        deployments.activate(base["id"])


def _found(transaction: Transaction, person: str) -> Erased:
    if not person:  # unrated answers have no rater
        raise NotFound("Nobody is called “”. Give the name of an owner or of a rater.")
    runs = transaction.rows(_RUNS, [person])
    for run in runs:
        if run["status"] == "running":
            raise Conflict(
                f"Run {run['id']} of {run['assistant_id']!r} is training on it now. Wait until it has ended, or stop "
                "the app, then erase."
            )
    adapters = tuple(dict.fromkeys(run["adapter"] for run in runs if run["adapter"]))
    active = """SELECT assistant_id FROM deployments
        WHERE status = 'active' AND adapter IN (SELECT value FROM json_each(?))"""
    counts = {
        name: transaction.rows(f"SELECT count(*) FROM {of}", [person])[0][0] for name, of in _COUNTED.items()
    }
    return Erased(
        **counts,
        adapters=adapters,
        runs=tuple(run["id"] for run in runs),
        assistants=tuple(row["assistant_id"] for row in transaction.rows(active, [adapters])),
    )


def _without_quotes(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report without what quotes answers: the guards and reasons of its gate; figures stay."""
    if not (gate := report.get("gate")):
        return report
    variants = [{k: v for k, v in variant.items() if k != "guards"} for variant in gate.get("variants", ())]
    figures = {k: v for k, v in gate.items() if k not in ("guards", "reasons")}
    return report | {"gate": figures | {"variants": variants}}
