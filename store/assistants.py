"""Keeps assistants, the immutable versions of their prompts, and the rules that people add to redaction."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from store.audit import AuditAction, Audits
from store.columns import record_of
from store.connection import Repository
from store.errors import Conflict, StoreError
from store.records import Assistant, Prompt, RedactionAction, RedactionRule, Segment


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
            if self._rows("SELECT 1 FROM assistants WHERE id = ?", [id]):
                raise Conflict(f"An assistant {id!r} exists already. Choose another id.")
            made = Assistant(id, name, scorer, self._clock(), tuple(starters))
            transaction.insert("assistants", **vars(made), found=found)
            if not found:  # then it is recorded when somebody adopts it
                self._other(Audits).record(AuditAction.ASSISTANT_MADE, id)
            return made

    def adopt(self, id: str, name: str, scorer: str, others: Iterable[str] = ()) -> Assistant:
        """Make an assistant of a prompt that came through the API, whose other forms nobody need adopt any more.

        Raises NotFound, Conflict for any other.
        """
        with self._file.writing() as transaction:
            self.get(id)
            change = "UPDATE assistants SET found = 0, name = ?, scorer = ? WHERE id = ? AND found = 1"
            if not transaction.execute(change, [name, scorer, id]).rowcount:
                raise Conflict(f"{id!r} is an assistant already.")
            forms = """UPDATE assistants SET found = 2
                WHERE id IN (SELECT value FROM json_each(?)) AND found = 1"""
            transaction.execute(forms, [[*others]])
            self._other(Audits).record(AuditAction.ASSISTANT_MADE, id)
            return self.get(id)

    def all(self) -> list[Assistant]:
        """Return all assistants, oldest first, without those that nobody has adopted."""
        return self._all(Assistant, "SELECT * FROM assistants WHERE found = 0 ORDER BY created_at, id")

    def found_ids(self) -> set[str]:
        """Return the ids of those that `found` gives, without counting what was asked."""
        return {row["id"] for row in self._rows("SELECT id FROM assistants WHERE found = 1")}

    def adopted_ids(self) -> set[str]:
        """Return the ids of those that `all` gives."""
        return {row["id"] for row in self._rows("SELECT id FROM assistants WHERE found = 0")}

    def found(self) -> list[FoundPrompt]:
        """Return the prompts that came through the API and nobody has adopted, the most used first."""
        query = """SELECT a.id, a.created_at, coalesce(max(c.updated_at), a.created_at) AS last_at,
                count(c.id) AS conversations
            FROM assistants a LEFT JOIN conversations c ON c.assistant_id = a.id WHERE a.found = 1
            GROUP BY a.id"""
        found = self._all(FoundPrompt, query)
        return sorted(found, key=lambda one: (-one.conversations, -one.last_at, one.id))

    def get(self, id: str) -> Assistant:
        """Raises NotFound."""
        return self._one(Assistant, "SELECT * FROM assistants WHERE id = ?", [id], f"assistant {id!r}")


class Prompts(Repository):
    def add(self, assistant_id: str, segments: Iterable[Segment]) -> Prompt:
        """Save the next version. Raises NotFound, and StoreError when two segments share an id."""
        segments = tuple(segments)
        for id, count in Counter(segment.id for segment in segments).items():
            if count > 1:
                raise StoreError(f"Segment ids must differ, but {id!r} occurs {count} times.")
        with self._file.writing() as transaction:
            self._other(Assistants).get(assistant_id)
            highest = "SELECT coalesce(max(version), 0) FROM prompts WHERE assistant_id = ?"
            version, now = self._number(highest, [assistant_id]) + 1, self._clock()
            made = Prompt(0, assistant_id, version, segments, now)
            made = replace(made, id=transaction.insert("prompts", **asdict(made) | {"id": None}))
            self._other(Audits).record(AuditAction.PROMPT_EDITED, assistant_id, {"version": version})
            return made

    def get(self, id: int) -> Prompt:
        """Raises NotFound."""
        return self._one(Prompt, "SELECT * FROM prompts WHERE id = ?", [id], f"prompt {id}")

    def of(self, assistant_id: str, id: int) -> Prompt:
        """Raises NotFound, and Conflict when the prompt is another assistant's."""
        prompt = self.get(id)
        if prompt.assistant_id != assistant_id:
            raise Conflict(f"Prompt {id} belongs to assistant {prompt.assistant_id!r}, not {assistant_id!r}.")
        return prompt

    def latest(self, assistant_id: str) -> Prompt:
        """Return the newest version. Raises NotFound when the assistant has no prompt yet."""
        newest = "SELECT * FROM prompts WHERE assistant_id = ? ORDER BY version DESC LIMIT 1"
        return self._one(Prompt, newest, [assistant_id], f"prompt of assistant {assistant_id!r}")

    def newest_id(self) -> int:
        """Return what changes with each version that any assistant gets."""
        return self._number("SELECT coalesce(max(id), 0) FROM prompts")

    def all(self, assistant_id: str | None = None) -> list[Prompt]:
        """Return all versions, oldest first; of every assistant, also of those not adopted, where none is given."""
        where, values = ("", []) if assistant_id is None else ("WHERE assistant_id = ?", [assistant_id])
        return self._all(Prompt, f"SELECT * FROM prompts {where} ORDER BY id", values)


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
            self._other(Assistants).get(assistant_id)
            rule = RedactionRule(0, assistant_id, action, kind, pattern, literal, added_by, self._clock())
            for one in self.all(assistant_id):
                if replace(rule, id=one.id, added_by=one.added_by, created_at=one.created_at) == one:
                    raise Conflict(f"{assistant_id!r} has that rule already: it is number {one.id}.")
            return replace(rule, id=transaction.insert("redaction_rules", **vars(rule) | {"id": None}))

    def all(self, assistant_id: str) -> list[RedactionRule]:
        query = "SELECT * FROM redaction_rules WHERE assistant_id = ? ORDER BY id"
        return self._all(RedactionRule, query, [assistant_id])

    def remove(self, assistant_id: str, id: int) -> RedactionRule:
        """Remove a rule and return it. Raises NotFound, also for another assistant's."""
        remove = "DELETE FROM redaction_rules WHERE id = ? AND assistant_id = ? RETURNING *"
        with self._file.writing() as transaction:
            rule = transaction.one(remove, [id, assistant_id], f"redaction rule {id} of {assistant_id!r}")
            return record_of(RedactionRule, rule)
