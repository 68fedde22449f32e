"""Proposals: answers of a refused candidate that a person is asked about, and what they decided.

In: a run and its answers to questions that were answered before. Out: `Proposal`s. Does not know why they are proposed
or what a decision changes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from store.audit import Deed, record
from store.part import Part
from store.records import Proposal

# From the run, which belongs to the assistant: there are 40 proposals a refused run, however large the store is.
OPEN = """
    SELECT p.* FROM runs r CROSS JOIN proposals p ON p.run_id = r.id
    WHERE r.assistant_id = ? AND p.accepted IS NULL ORDER BY p.id LIMIT ?"""
DECIDED = """
    SELECT p.* FROM runs r CROSS JOIN proposals p ON p.run_id = r.id
    WHERE r.assistant_id = ? AND p.accepted IS NOT NULL ORDER BY p.id"""
OF_RUN = "SELECT * FROM proposals WHERE run_id = ? ORDER BY id"
_ONE = "SELECT * FROM proposals WHERE id = ?"


class Proposals(Part):
    def propose(self, run_id: int, answers: Iterable[tuple[str, str]]) -> int:
        """Save (message id, text): another answer to what that message answered. Returns how many are new.

        An answer that was proposed before for the same message is not asked about again.
        """
        new = 0
        with self._file.writing() as transaction:
            transaction.one("SELECT 1 FROM runs WHERE id = ?", [run_id], f"run {run_id}")
            for message_id, text in answers:
                same = transaction.row(
                    "SELECT 1 FROM proposals WHERE message_id = ? AND text = ?", [message_id, text]
                )
                gone = transaction.row("SELECT 1 FROM messages WHERE id = ?", [message_id]) is None
                if same is None and not gone:
                    transaction.insert(
                        "proposals",
                        run_id=run_id,
                        message_id=message_id,
                        text=text,
                        created_at=self._clock(),
                    )
                    new += 1
        return new

    def open_proposals(self, assistant_id: str, limit: int = 1000) -> list[Proposal]:
        """What nobody has decided, the oldest first."""
        with self._file.reading() as transaction:
            rows = transaction.rows(OPEN, [assistant_id, limit])
        return [_proposal(row) for row in rows]

    def proposal(self, id: int) -> Proposal:
        """Raises NotFound."""
        with self._file.reading() as transaction:
            return _proposal(transaction.one(_ONE, [id], f"proposal {id}"))

    def decided_proposals(self, assistant_id: str) -> list[Proposal]:
        """The oldest first."""
        with self._file.reading() as transaction:
            rows = transaction.rows(DECIDED, [assistant_id])
        return [_proposal(row) for row in rows]

    def proposals_of(self, run_id: int) -> list[Proposal]:
        """Those of one run, decided or not."""
        with self._file.reading() as transaction:
            rows = transaction.rows(OF_RUN, [run_id])
        return [_proposal(row) for row in rows]

    def decide_proposal(self, id: int, accepted: bool | None, decided_by: str) -> Proposal:
        """Whether the answer would do; None takes a decision back. Raises NotFound."""
        with self._file.writing() as transaction:
            transaction.one(_ONE, [id], f"proposal {id}")
            transaction.execute(
                "UPDATE proposals SET accepted = ?, decided_by = ?, decided_at = ? WHERE id = ?",
                [
                    None if accepted is None else int(accepted),
                    "" if accepted is None else decided_by,
                    None if accepted is None else self._clock(),
                    id,
                ],
            )
            deed = Deed.REVIEW_UNDONE if accepted is None else Deed.REVIEWED
            told = {} if accepted is None else {"accepted": int(accepted)}
            record(transaction, self._clock(), deed, f"proposal {id}", told)
            return _proposal(transaction.one(_ONE, [id], f"proposal {id}"))


def _proposal(row: sqlite3.Row) -> Proposal:
    return Proposal(
        id=row["id"],
        run_id=row["run_id"],
        message_id=row["message_id"],
        text=row["text"],
        created_at=row["created_at"],
        accepted=None if row["accepted"] is None else bool(row["accepted"]),
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
    )
