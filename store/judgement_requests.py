"""Keeps answers of a refused candidate that people are asked about, and what they decided."""

from __future__ import annotations

from collections.abc import Iterable

from store.audit import AuditAction, record
from store.columns import mapper
from store.connection import Transaction
from store.errors import Conflict
from store.records import JudgementRequest
from store.repository import Repository

OPEN = """
    SELECT * FROM judgement_requests WHERE assistant_id = ? AND accepted IS NULL ORDER BY id LIMIT ?"""
DECIDED = """
    SELECT * FROM judgement_requests WHERE assistant_id = ? AND accepted IS NOT NULL ORDER BY id"""
OF_RUN = "SELECT * FROM judgement_requests WHERE run_id = ? ORDER BY id"
# A message that was deleted meanwhile is asked about no more.
_ADD = """
    INSERT INTO judgement_requests (assistant_id, run_id, message_id, text, created_at)
    SELECT ?1, ?2, id, ?3, ?4 FROM messages WHERE id = ?5 ON CONFLICT (message_id, text) DO NOTHING"""
_ONE = "SELECT * FROM judgement_requests WHERE id = ?"


class JudgementRequests(Repository):
    def add(self, run_id: int, answers: Iterable[tuple[str, str]]) -> int:
        """Save (message id, text): another answer to what that message answered. Returns how many are new.

        The same text is asked about once for a message.
        """
        new = 0
        with self._file.writing() as transaction:
            run = transaction.one("SELECT assistant_id FROM runs WHERE id = ?", [run_id], f"run {run_id}")
            for message_id, text in answers:
                values = [run["assistant_id"], run_id, text, self._clock(), message_id]
                new += transaction.execute(_ADD, values).rowcount
        return new

    def open(self, assistant_id: str, limit: int = 1000) -> list[JudgementRequest]:
        """Return the requests that nobody has decided, the oldest first."""
        return self._all(judgement_request_of, OPEN, [assistant_id, limit])

    def get(self, id: int) -> JudgementRequest:
        """Raises NotFound."""
        return self._one(judgement_request_of, _ONE, [id], f"judgement request {id}")

    def decided(self, assistant_id: str) -> list[JudgementRequest]:
        """Return the requests that somebody has decided, the oldest first."""
        return self._all(judgement_request_of, DECIDED, [assistant_id])

    def decide(self, ids: Iterable[int], accepted: bool | None, decided_by: str) -> list[JudgementRequest]:
        """Decide whether each answer would do, all or none and at one moment; None takes decisions back.

        Raises NotFound, and Conflict to take one back that was imported: nothing would be left of it.
        """
        with self._file.writing() as transaction:
            now = self._clock()
            return [_decide(transaction, id, accepted, decided_by, now) for id in ids]

    def of_run(self, run_id: int) -> list[JudgementRequest]:
        """Return those of one run, decided or not."""
        return self._all(judgement_request_of, OF_RUN, [run_id])


def _decide(
    transaction: Transaction, id: int, accepted: bool | None, decided_by: str, now: float
) -> JudgementRequest:
    before = judgement_request_of(transaction.one(_ONE, [id], f"judgement request {id}"))
    if accepted is None and before.run_id is None:
        raise Conflict(
            f"Judgement request {id} came in decided with a file, so no run asks about it. Accept or refuse it."
        )
    change = "UPDATE judgement_requests SET accepted = ?, decided_by = ?, decided_at = ? WHERE id = ?"
    subject = f"judgement request {id}"
    if accepted is None:
        transaction.execute(change, [None, "", None, id])
        record(transaction, now, AuditAction.REVIEW_UNDONE, subject)
    else:
        transaction.execute(change, [int(accepted), decided_by, now, id])
        record(transaction, now, AuditAction.REVIEWED, subject, {"accepted": int(accepted)})
    return judgement_request_of(transaction.one(_ONE, [id], f"judgement request {id}"))


judgement_request_of = mapper(JudgementRequest)
