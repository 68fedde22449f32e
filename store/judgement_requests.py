"""Answers of a refused candidate that people are asked about, and what they decided."""

from __future__ import annotations

from collections.abc import Iterable

from store.audit import AuditAction, record
from store.connection import Transaction
from store.errors import Conflict
from store.records import JudgementRequest
from store.repository import Repository, mapper

OPEN = """
    SELECT * FROM judgement_requests WHERE assistant_id = ? AND accepted IS NULL ORDER BY id LIMIT ?"""
DECIDED = """
    SELECT * FROM judgement_requests WHERE assistant_id = ? AND accepted IS NOT NULL ORDER BY id"""
OF_RUN = "SELECT * FROM judgement_requests WHERE run_id = ? ORDER BY id"
# What one person decided last, at one moment.
DECIDED_LAST = """
    SELECT * FROM judgement_requests WHERE accepted IS NOT NULL AND decided_by = ? AND decided_at = (
        SELECT decided_at FROM judgement_requests
        WHERE accepted IS NOT NULL AND decided_by = ? AND decided_at >= ? AND assistant_id = ?
        ORDER BY decided_at DESC LIMIT 1)
    AND assistant_id = ? ORDER BY id"""
_ONE = "SELECT * FROM judgement_requests WHERE id = ?"


class JudgementRequests(Repository):
    def add(self, run_id: int, answers: Iterable[tuple[str, str]]) -> int:
        """Save (message id, text): another answer to what that message answered. Returns how many are new.

        An answer that was proposed before for the same message is not asked about again.
        """
        new = 0
        with self._file.writing() as transaction:
            run = transaction.one("SELECT assistant_id FROM runs WHERE id = ?", [run_id], f"run {run_id}")
            for message_id, text in answers:
                same = transaction.row(
                    "SELECT 1 FROM judgement_requests WHERE message_id = ? AND text = ?", [message_id, text]
                )
                gone = transaction.row("SELECT 1 FROM messages WHERE id = ?", [message_id]) is None
                if same is None and not gone:
                    transaction.insert(
                        "judgement_requests",
                        assistant_id=run["assistant_id"],
                        run_id=run_id,
                        message_id=message_id,
                        text=text,
                        created_at=self._clock(),
                    )
                    new += 1
        return new

    def open(self, assistant_id: str, limit: int = 1000) -> list[JudgementRequest]:
        """What nobody has decided, the oldest first."""
        return self._all(judgement_request_of, OPEN, [assistant_id, limit])

    def get(self, id: int) -> JudgementRequest:
        """Raises NotFound."""
        return self._one(judgement_request_of, _ONE, [id], f"judgement request {id}")

    def decided(self, assistant_id: str) -> list[JudgementRequest]:
        """The oldest first."""
        return self._all(judgement_request_of, DECIDED, [assistant_id])

    def last_decided(self, assistant_id: str, decided_by: str, since: float) -> list[JudgementRequest]:
        """What this person decided last and at once, if that was at or after `since` (UTC seconds)."""
        with self._file.reading() as transaction:
            values = [decided_by, decided_by, since, assistant_id, assistant_id]
            return [judgement_request_of(row) for row in transaction.rows(DECIDED_LAST, values)]

    def decide_all(
        self, ids: Iterable[int], accepted: bool | None, decided_by: str
    ) -> list[JudgementRequest]:
        """The same about each, at one moment, all or none. Raises NotFound."""
        with self._file.writing() as transaction:
            now = self._clock()
            return [_decide(transaction, id, accepted, decided_by, now) for id in ids]

    def of_run(self, run_id: int) -> list[JudgementRequest]:
        """Those of one run, decided or not."""
        return self._all(judgement_request_of, OF_RUN, [run_id])

    def decide(self, id: int, accepted: bool | None, decided_by: str) -> JudgementRequest:
        """Whether the answer would do; None takes a decision back. Raises NotFound, and Conflict where a file brought
        it: without a decision there would be nothing left of it.
        """
        return self.decide_all([id], accepted, decided_by)[0]


def _decide(
    transaction: Transaction, id: int, accepted: bool | None, decided_by: str, now: float
) -> JudgementRequest:
    before = judgement_request_of(transaction.one(_ONE, [id], f"judgement request {id}"))
    if accepted is None and before.run_id is None:
        raise Conflict(
            f"Judgement request {id} came in decided with a file, so no run asks about it. Accept or refuse it."
        )
    transaction.execute(
        "UPDATE judgement_requests SET accepted = ?, decided_by = ?, decided_at = ? WHERE id = ?",
        [
            None if accepted is None else int(accepted),
            "" if accepted is None else decided_by,
            None if accepted is None else now,
            id,
        ],
    )
    action = AuditAction.REVIEW_UNDONE if accepted is None else AuditAction.REVIEWED
    record(
        transaction,
        now,
        action,
        f"judgement request {id}",
        {} if accepted is None else {"accepted": int(accepted)},
    )
    return judgement_request_of(transaction.one(_ONE, [id], f"judgement request {id}"))


judgement_request_of = mapper(JudgementRequest)
