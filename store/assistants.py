"""Keeps assistants and the immutable versions of their prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from store.audit import AuditAction, record
from store.columns import from_json, to_json
from store.connection import Transaction
from store.errors import Conflict, StoreError
from store.records import Assistant, Prompt, Segment, SegmentKind
from store.repository import Repository, mapper

_PROMPT = "SELECT * FROM prompts WHERE id = ?"


class Assistants(Repository):
    def create(self, id: str, name: str, scorer: str, starters: Iterable[str] = ()) -> Assistant:
        """Add an assistant without a prompt. Raises Conflict when the id is taken."""
        with self._file.writing() as transaction:
            if transaction.row("SELECT 1 FROM assistants WHERE id = ?", [id]):
                raise Conflict(f"An assistant {id!r} exists already. Choose another id.")
            made = Assistant(id, name, scorer, self._clock(), tuple(starters))
            transaction.insert("assistants", **{**vars(made), "starters": to_json(made.starters)})
            record(transaction, made.created_at, AuditAction.ASSISTANT_MADE, id)
            return made

    def all(self) -> list[Assistant]:
        """All assistants, oldest first."""
        return self._all(_assistant, "SELECT * FROM assistants ORDER BY created_at, id")

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
            id = transaction.insert("prompts", **columns, segments=to_json(rows))
            record(transaction, now, AuditAction.PROMPT_EDITED, assistant_id, {"version": version})
            return self.get(id)

    def get(self, id: int) -> Prompt:
        """Raises NotFound."""
        return self._one(_prompt, _PROMPT, [id], f"prompt {id}")

    def latest(self, assistant_id: str) -> Prompt:
        """The newest version. Raises NotFound when the assistant has no prompt yet."""
        newest = "SELECT * FROM prompts WHERE assistant_id = ? ORDER BY version DESC LIMIT 1"
        return self._one(_prompt, newest, [assistant_id], f"prompt of assistant {assistant_id!r}")

    def all(self, assistant_id: str) -> list[Prompt]:
        """All versions, oldest first."""
        query = "SELECT * FROM prompts WHERE assistant_id = ? ORDER BY version"
        return self._all(_prompt, query, [assistant_id])


def need_assistant(transaction: Transaction, id: str) -> Assistant:
    """Raises NotFound."""
    return _assistant(transaction.one("SELECT * FROM assistants WHERE id = ?", [id], f"assistant {id!r}"))


def need_prompt(transaction: Transaction, id: int, assistant_id: str) -> Prompt:
    """Raises NotFound, and Conflict when the prompt is another assistant's."""
    prompt = _prompt(transaction.one(_PROMPT, [id], f"prompt {id}"))
    if prompt.assistant_id != assistant_id:
        raise Conflict(f"Prompt {id} belongs to assistant {prompt.assistant_id!r}, not {assistant_id!r}.")
    return prompt


_assistant = mapper(Assistant, starters=lambda text: tuple(from_json(text)))


def _segment(value: dict[str, Any]) -> Segment:
    return Segment(**{**value, "kind": SegmentKind(value["kind"])})


_prompt = mapper(Prompt, segments=lambda text: tuple(map(_segment, from_json(text))))
