"""Keeps what people add to what is redacted in examples, and the false alarms that they marked."""

from __future__ import annotations

from store.assistants import need_assistant
from store.errors import Conflict
from store.records import RedactionAction, RedactionRule
from store.repository import Repository, mapper

_SAME = """SELECT * FROM redaction_rules
    WHERE assistant_id = ? AND action = ? AND kind = ? AND pattern = ? AND literal = ?"""


class RedactionRules(Repository):
    def add(
        self,
        assistant_id: str,
        action: RedactionAction,
        pattern: str,
        kind: str = "",
        literal: bool = False,
        added_by: str = "local",
    ) -> RedactionRule:
        """Save it. Raises NotFound, Conflict when the assistant has that rule or the kind does not fit the action."""
        if bool(kind) is not (action is RedactionAction.REPLACE) or not pattern:
            raise Conflict(
                f"A rule to {action.value} {pattern!r} with kind {kind!r} says nothing: what is replaced needs a kind, "
                "what is kept has none, and both need a pattern."
            )
        with self._file.writing() as transaction:
            need_assistant(transaction, assistant_id)
            same = [assistant_id, action, kind, pattern, int(literal)]
            if found := transaction.row(_SAME, same):
                raise Conflict(
                    f"Assistant {assistant_id!r} has that rule already: it is number {found['id']}."
                )
            columns = {"assistant_id": assistant_id, "action": action, "kind": kind, "pattern": pattern}
            values = {"literal": int(literal), "added_by": added_by, "created_at": self._clock()}
            transaction.insert("redaction_rules", **columns, **values)
            return _rule(transaction.rows(_SAME, same)[0])

    def all(self, assistant_id: str) -> list[RedactionRule]:
        query = "SELECT * FROM redaction_rules WHERE assistant_id = ? ORDER BY id"
        return self._all(_rule, query, [assistant_id])

    def remove(self, assistant_id: str, id: int) -> RedactionRule:
        """Returns the rule that was removed. Raises NotFound, also for another assistant's."""
        query = "SELECT * FROM redaction_rules WHERE id = ? AND assistant_id = ?"
        with self._file.writing() as transaction:
            rule = self._one(_rule, query, [id, assistant_id], f"redaction rule {id} of {assistant_id!r}")
            transaction.execute("DELETE FROM redaction_rules WHERE id = ?", [id])
            return rule


_rule = mapper(RedactionRule)
