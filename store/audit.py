"""Keeps the audit log: who did what that matters to others, when, and with what outcome.

Each action is recorded in the transaction that does it, and triggers refuse to change or delete a line. The actor is
the name that `acting` was given: a person or the trainer; otherwise who runs the command (“shell:” and the name on this
machine). The log never holds what people wrote, or passwords.
"""

import getpass
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType

from store.connection import Repository
from store.errors import StoreError

TRAINER = "trainer"  # what it does by itself

Plain = str | int | float | bool | None
Detail = Mapping[str, Plain]
_NONE: Detail = MappingProxyType({})
_actor: ContextVar[str | None] = ContextVar("actor", default=None)


class AuditAction(StrEnum):
    SIGNED_IN = "signed in"
    SIGN_IN_FAILED = "sign-in failed"
    SIGNED_OUT = "signed out"
    REFUSED = "refused"
    USER_ADDED = "user added"
    ROLE_CHANGED = "role changed"
    PASSWORD_CHANGED = "password changed"
    USER_REMOVED = "user removed"
    KEY_ADDED = "key added"
    KEY_REVOKED = "key revoked"
    ASSISTANT_MADE = "assistant made"
    PROMPT_EDITED = "prompt edited"
    TRAINING_ASKED = "training asked for"
    AUTOMATIC_RETRAINS = "retrains by itself"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    IMPORTED = "imported"
    EXPORTED = "exported"
    ERASED = "erased"
    REVIEWED = "reviewed"
    REVIEW_UNDONE = "review undone"


class Outcome(StrEnum):
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True)
class Entry:
    """One line of the audit log. `subject` is what it was done to: a user, an assistant, an answer."""

    seq: int
    at: float
    actor: str
    action: str
    subject: str
    outcome: Outcome
    detail: dict[str, Plain]


@contextmanager
def acting(name: str) -> Iterator[None]:
    """Record what is done within the block as done by `name`."""
    token = _actor.set(name)
    try:
        yield
    finally:
        _actor.reset(token)


@cache
def _of_this_process() -> str:
    try:
        return f"shell:{getpass.getuser()}"
    except (OSError, KeyError):  # a container whose user has no name
        return "shell:unknown"


class Audits(Repository):
    def record(
        self,
        action: AuditAction,
        subject: str,
        detail: Detail = _NONE,
        *,
        outcome: Outcome = Outcome.DONE,
        actor: str | None = None,
    ) -> None:
        """Add a line, if the transaction around it is saved. `actor` names somebody who is not signed in yet."""
        columns = {"action": action, "subject": subject, "outcome": outcome, "detail": dict(detail)}
        actor = actor or _actor.get() or _of_this_process()
        with self._file.writing() as transaction:
            transaction.insert("audit", at=self._clock(), actor=actor, **columns)

    @contextmanager
    def audited(
        self, action: AuditAction, subject: str, detail: Detail = _NONE
    ) -> Iterator[dict[str, Plain]]:
        """Add a line when the block has ended, as done or as failed. What is put into the dict goes into the line."""
        values = dict(detail)
        try:
            yield values
        except BaseException as error:
            with suppress(StoreError):  # what went wrong matters more than that it could not be recorded
                self.record(action, subject, values | {"error": type(error).__name__}, outcome=Outcome.FAILED)
            raise
        self.record(action, subject, values)

    def entries(self, limit: int = 100, actor: str | None = None, action: str | None = None) -> list[Entry]:
        """Return the newest `limit` lines, of one actor or one kind where that is given."""
        wanted = {"actor": actor, "action": action}
        values = {column: value for column, value in wanted.items() if value is not None}
        where = " AND ".join(["TRUE", *(f"{column} = ?" for column in values)])
        query = f"SELECT * FROM audit WHERE {where} ORDER BY seq DESC LIMIT ?"
        return self._all(Entry, query, [*values.values(), limit])
