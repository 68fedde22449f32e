"""Keeps assistants, the immutable versions of their prompts, and the rules that people add to redaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from store.audit import AuditAction, record
from store.columns import mapper
from store.connection import Repository, Transaction
from store.errors import Conflict, StoreError
from store.records import Assistant, Prompt, RedactionAction, RedactionRule, Segment

_SAME_RULE = """SELECT * FROM redaction_rules
    WHERE assistant_id = ? AND action = ? AND kind = ? AND pattern = ? AND literal = ?"""
_PROMPT = "SELECT * FROM prompts WHERE id = ?"


_FOUND = """
    SELECT a.id, a.created_at, coalesce(max(c.updated_at), a.created_at) AS last_at, count(c.id) AS conversations
    FROM assistants a LEFT JOIN conversations c ON c.assistant_id = a.id
    WHERE a.found = 1 GROUP BY a.id"""


@dataclass(frozen=True)
class FoundPrompt:
    """A prompt that came through the API: the assistant that it may become, and what was asked under it."""

    id: str
    created_at: float
    last_at: float
    conversations: int


class Assistants(Repository):
    def create(
        self, id: str, name: str, scorer: str, starters: Iterable[str] = (), found: bool = False
    ) -> Assistant:
        """Add an assistant without a prompt; `found`: nobody has adopted it. Raises Conflict when the id is taken."""
        with self._file.writing() as transaction:
            if transaction.row("SELECT 1 FROM assistants WHERE id = ?", [id]):
                raise Conflict(f"An assistant {id!r} exists already. Choose another id.")
            made = Assistant(id, name, scorer, self._clock(), tuple(starters))
            transaction.insert("assistants", **vars(made), found=found)
            if not found:  # then it is recorded when somebody adopts it
                record(transaction, made.created_at, AuditAction.ASSISTANT_MADE, id)
            return made

    def adopt(self, id: str, name: str, scorer: str, others: Iterable[str] = ()) -> Assistant:
        """Make an assistant of a prompt that came through the API, of which `others` are forms that nobody need adopt
        any more. Raises NotFound, Conflict for any other.
        """
        with self._file.writing() as transaction:
            need_assistant(transaction, id)
            change = "UPDATE assistants SET found = 0, name = ?, scorer = ? WHERE id = ? AND found = 1"
            if not transaction.execute(change, [name, scorer, id]).rowcount:
                raise Conflict(f"{id!r} is an assistant already.")
            forms = (
                "UPDATE assistants SET found = 2 WHERE id IN (SELECT value FROM json_each(?)) AND found = 1"
            )
            transaction.execute(forms, [[*others]])
            record(transaction, self._clock(), AuditAction.ASSISTANT_MADE, id)
            return self.get(id)

    def all(self) -> list[Assistant]:
        """Return all assistants, oldest first, without those that nobody has adopted."""
        return self._all(_assistant, "SELECT * FROM assistants WHERE found = 0 ORDER BY created_at, id")

    def found_ids(self) -> set[str]:
        """Return the ids of those that `found` gives, without counting what was asked."""
        return {row["id"] for row in self._rows("SELECT id FROM assistants WHERE found = 1")}

    def adopted_ids(self) -> set[str]:
        """Return the ids of those that `all` gives."""
        return {row["id"] for row in self._rows("SELECT id FROM assistants WHERE found = 0")}

    def found(self) -> list[FoundPrompt]:
        """Return the prompts that came through the API and nobody has adopted, the most used first."""
        found = self._all(_found_prompt, _FOUND)
        return sorted(found, key=lambda one: (-one.conversations, -one.last_at, one.id))

    def get(self, id: str) -> Assistant:
        """Raises NotFound."""
        with self._file.reading() as transaction:
            return need_assistant(transaction, id)


class Prompts(Repository):
    def add(self, assistant_id: str, segments: Iterable[Segment]) -> Prompt:
        """Save the next version. Raises NotFound, and StoreError when two segments share an id."""
        segments = tuple(segments)
        counts = Counter(segment.id for segment in segments)
        if repeated := sorted(id for id, count in counts.items() if count > 1):
            raise StoreError(
                f"Segment ids must differ, but {repeated[0]!r} occurs {counts[repeated[0]]} times."
            )
        with self._file.writing() as transaction:
            need_assistant(transaction, assistant_id)
            highest = "SELECT coalesce(max(version), 0) FROM prompts WHERE assistant_id = ?"
            version, now = self._number(highest, [assistant_id]) + 1, self._clock()
            columns = {"assistant_id": assistant_id, "version": version, "created_at": now}
            rows = [asdict(segment) for segment in segments]
            id = transaction.insert("prompts", **columns, segments=rows)
            record(transaction, now, AuditAction.PROMPT_EDITED, assistant_id, {"version": version})
            return self.get(id)

    def get(self, id: int) -> Prompt:
        """Raises NotFound."""
        return self._one(_prompt, _PROMPT, [id], f"prompt {id}")

    def latest(self, assistant_id: str) -> Prompt:
        """Return the newest version. Raises NotFound when the assistant has no prompt yet."""
        newest = "SELECT * FROM prompts WHERE assistant_id = ? ORDER BY version DESC LIMIT 1"
        return self._one(_prompt, newest, [assistant_id], f"prompt of assistant {assistant_id!r}")

    def newest_id(self) -> int:
        """Return what changes with each version that any assistant gets."""
        return self._number("SELECT coalesce(max(id), 0) FROM prompts")

    def all(self, assistant_id: str | None = None) -> list[Prompt]:
        """Return all versions, oldest first; of every assistant, also of those not adopted, where none is given."""
        if assistant_id is None:
            return self._all(_prompt, "SELECT * FROM prompts ORDER BY id")
        query = "SELECT * FROM prompts WHERE assistant_id = ? ORDER BY version"
        return self._all(_prompt, query, [assistant_id])


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
        with self._file.writing() as transaction:
            need_assistant(transaction, assistant_id)
            if found := transaction.row(_SAME_RULE, [assistant_id, action, kind, pattern, literal]):
                raise Conflict(
                    f"Assistant {assistant_id!r} has that rule already: it is number {found['id']}."
                )
            at = self._clock()
            rule = RedactionRule(0, assistant_id, action, kind, pattern, literal, added_by, at)
            columns = {name: value for name, value in vars(rule).items() if name != "id"}
            return replace(rule, id=transaction.insert("redaction_rules", **columns))

    def all(self, assistant_id: str) -> list[RedactionRule]:
        query = "SELECT * FROM redaction_rules WHERE assistant_id = ? ORDER BY id"
        return self._all(_rule, query, [assistant_id])

    def remove(self, assistant_id: str, id: int) -> RedactionRule:
        """Remove a rule and return it. Raises NotFound, also for another assistant's."""
        query = "SELECT * FROM redaction_rules WHERE id = ? AND assistant_id = ?"
        with self._file.writing() as transaction:
            rule = self._one(_rule, query, [id, assistant_id], f"redaction rule {id} of {assistant_id!r}")
            transaction.execute("DELETE FROM redaction_rules WHERE id = ?", [id])
            return rule


def need_assistant(transaction: Transaction, id: str) -> Assistant:
    """Raises NotFound."""
    return _assistant(transaction.one("SELECT * FROM assistants WHERE id = ?", [id], f"assistant {id!r}"))


def need_prompt(transaction: Transaction, id: int, assistant_id: str) -> Prompt:
    """Raises NotFound, and Conflict when the prompt is another assistant's."""
    prompt = _prompt(transaction.one(_PROMPT, [id], f"prompt {id}"))
    if prompt.assistant_id != assistant_id:
        raise Conflict(f"Prompt {id} belongs to assistant {prompt.assistant_id!r}, not {assistant_id!r}.")
    return prompt


_assistant = mapper(Assistant)
_found_prompt = mapper(FoundPrompt)
_prompt = mapper(Prompt)
_rule = mapper(RedactionRule)
