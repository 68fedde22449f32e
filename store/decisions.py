"""Keeps what reviewers decide: about answers, which outranks ratings, and about answers that the gate asks about.

Earlier decisions stay; one that is undone goes, and the audit log says so.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from store.audit import AuditAction, Audits, Detail
from store.columns import grouped, record_of
from store.connection import Repository, Transaction
from store.errors import Conflict, NotFound
from store.records import Decision, JudgementRequest, Role, Ruling

# "Latest" is by the order of writing, not by the clock, which can step back.
IS_EFFECTIVE = """d.seq = (
    SELECT max(l.seq) FROM decisions l WHERE l.message_id = d.message_id AND l.reviewer = d.reviewer)"""

_EFFECTIVE = f"""
    SELECT d.* FROM json_each(?) wanted CROSS JOIN decisions d ON d.{{}} = wanted.value
    WHERE {IS_EFFECTIVE} ORDER BY d.seq"""
_ROLES = "SELECT m.id, m.role FROM json_each(?) wanted CROSS JOIN messages m ON m.id = wanted.value"
_REMOVE = "DELETE FROM decisions WHERE id IN (SELECT value FROM json_each(?))"
_DECIDED_SINCE = f"""
    SELECT count(DISTINCT d.message_id) FROM decisions d
    CROSS JOIN messages m ON m.id = d.message_id
    CROSS JOIN conversations c ON c.id = m.conversation_id
    WHERE d.reviewer = ? AND d.created_at >= ? AND c.assistant_id = ? AND {IS_EFFECTIVE}"""


class Decisions(Repository):
    def add(self, message_id: str, reviewer: str, ruling: Ruling, correction: str | None = None) -> Decision:
        """Add one; see `add_all`."""
        return self.add_all(reviewer, ruling, {message_id: correction})[0]

    def add_all(self, reviewer: str, ruling: Ruling, corrections: Mapping[str, str | None]) -> list[Decision]:
        """Add the same ruling for every message that is a key, all or none.

        The value is the text to learn, None for the answer as it is. Raises NotFound, and Conflict for a question, for
        CORRECT without a text, and for a text where nothing is to be learned.
        """
        with self._file.writing() as transaction:
            _check(transaction, ruling, corrections)
            now = self._clock()
            if corrections:
                detail: Detail = {"ruling": ruling.value, "answers": len(corrections), "reviewer": reviewer}
                self._other(Audits).record(AuditAction.REVIEWED, f"answer {next(iter(corrections))}", detail)
            made = list[Decision]()
            for id, text in corrections.items():
                made.append(Decision(self._new_id(), id, reviewer, ruling, now, text))
                transaction.insert("decisions", **vars(made[-1]))
            return made

    def undo(self, ids: Iterable[str]) -> list[Decision]:
        """Take these back, so that what each reviewer had decided before counts again; return those that are gone.

        What the same reviewer has decided anew since then, and what was deleted meanwhile, is left alone.
        """
        with self._file.writing() as transaction:
            gone = self._all(Decision, _EFFECTIVE.format("id"), [list(set(ids))])
            transaction.execute(_REMOVE, [[decision.id for decision in gone]])
            if gone:
                detail: Detail = {"answers": len(gone), "reviewer": gone[0].reviewer}
                first = f"answer {gone[0].message_id}"
                self._other(Audits).record(AuditAction.REVIEW_UNDONE, first, detail)
            return gone

    def all(self, message_id: str) -> list[Decision]:
        """Return every decision about the message, oldest first."""
        query = "SELECT * FROM decisions WHERE message_id = ? ORDER BY seq"
        return self._all(Decision, query, [message_id])

    def effective(self, message_ids: Iterable[str]) -> dict[str, Decision]:
        """Return the decision that counts, by message; undecided messages are left out."""
        rows = self._rows(_EFFECTIVE.format("message_id"), [list(set(message_ids))])
        found = grouped(Decision, rows, "message_id").items()
        return {id: counts for id, decisions in found if (counts := effective_decision(decisions))}

    def count_since(self, assistant_id: str, reviewer: str, since: float) -> int:
        """Return on how many of the assistant's answers the reviewer has decided since then (UTC seconds)."""
        return self._number(_DECIDED_SINCE, [reviewer, since, assistant_id])


def _check(transaction: Transaction, ruling: Ruling, corrections: Mapping[str, str | None]) -> None:
    roles = {row["id"]: row["role"] for row in transaction.rows(_ROLES, [list(corrections)])}
    for message_id, correction in corrections.items():
        if message_id not in roles:
            raise NotFound(f"There is no message {message_id!r}.")
        if roles[message_id] != Role.ASSISTANT:
            raise Conflict(f"Message {message_id!r} is from the user; only answers can be reviewed.")
        if ruling is Ruling.CORRECT and correction is None:
            raise Conflict(f"The correction of {message_id!r} has no text. Give the answer as it should be.")
        if ruling is Ruling.REJECT and correction is not None:
            raise Conflict(f"{ruling.value!r} of {message_id!r} takes no text. Leave the correction out.")


def effective_decision(decisions: Sequence[Decision]) -> Decision | None:
    """Return the decision that counts among all about one answer, which are in the order of writing."""
    latest = {decision.reviewer: decision for decision in decisions}
    return max(latest.values(), key=lambda decision: (decision.created_at, decision.id), default=None)


OPEN = "SELECT * FROM judgement_requests WHERE assistant_id = ? AND accepted IS NULL ORDER BY id LIMIT ?"
DECIDED = "SELECT * FROM judgement_requests WHERE assistant_id = ? AND accepted IS NOT NULL ORDER BY id"
# A message that was deleted is asked about no more. What another run asked, and nobody has said, is asked again.
_ADD = """
    INSERT INTO judgement_requests (assistant_id, run_id, message_id, text, created_at)
    SELECT ?1, ?2, id, ?3, ?4 FROM messages WHERE id = ?5
    ON CONFLICT (message_id, text) DO UPDATE SET run_id = excluded.run_id WHERE accepted IS NULL"""
_DECIDE = """
    UPDATE judgement_requests SET accepted = ?, decided_by = ?, decided_at = ? WHERE id = ? RETURNING *"""


class JudgementRequests(Repository):
    def add(self, run_id: int, answers: Iterable[tuple[str, str]]) -> int:
        """Save (message id, text): another answer to what that message answered. Returns how many wait for people.

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
        return self._all(JudgementRequest, OPEN, [assistant_id, limit])

    def of_message(self, message_id: str) -> list[JudgementRequest]:
        """Return all about what one message answered, decided or not, the oldest first."""
        query = "SELECT * FROM judgement_requests WHERE message_id = ? ORDER BY id"
        return self._all(JudgementRequest, query, [message_id])

    def decided(self, assistant_id: str) -> list[JudgementRequest]:
        """Return the requests that somebody has decided, the oldest first."""
        return self._all(JudgementRequest, DECIDED, [assistant_id])

    def choose(
        self, ids: Iterable[int], right: Collection[int] | None, decided_by: str
    ) -> list[JudgementRequest]:
        """Accept those of `right` and refuse the rest, all or none; None takes decisions back. Raises NotFound."""
        with self._file.writing() as transaction:
            now, decided = self._clock(), list[JudgementRequest]()
            for id in ids:
                subject, values = f"judgement request {id}", list[Any]([None, "", None])
                if right is None:
                    self._other(Audits).record(AuditAction.REVIEW_UNDONE, subject)
                else:
                    values = [id in right, decided_by, now]
                    self._other(Audits).record(AuditAction.REVIEWED, subject, {"accepted": int(id in right)})
                decided.append(record_of(JudgementRequest, transaction.one(_DECIDE, [*values, id], subject)))
            return decided

    def of_run(self, run_id: int) -> list[JudgementRequest]:
        """Return those of one run, decided or not."""
        query = "SELECT * FROM judgement_requests WHERE run_id = ? ORDER BY id"
        return self._all(JudgementRequest, query, [run_id])
