"""Keeps what programs use the API with: keys (each shown once, its hash is kept), files and fine-tuning jobs."""

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from store.accounts import UserRole, Users, token_hash
from store.audit import AuditAction, Audits, Detail
from store.columns import record_of
from store.connection import Repository
from store.errors import Conflict, NotFound, StoreError
from store.runs import Runs

PER_MINUTE = 600  # requests, unless a key says otherwise
_OF_HASH = """
    SELECT k.*, u.role FROM api_keys k LEFT JOIN users u ON u.name = k.user
    WHERE k.key_hash = ? AND k.revoked_at IS NULL"""
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


class Scope(StrEnum):
    """What a key may be used for."""

    CHAT = "chat"
    FEEDBACK = "feedback"
    TRAIN = "train"
    METRICS = "metrics"
    ADMIN = "admin"  # make, list and revoke keys


USUAL = (Scope.CHAT, Scope.FEEDBACK)


@dataclass(frozen=True)
class ApiKey:
    """The key of an app, or of a person, `user`; without the key itself."""

    name: str
    scopes: tuple[Scope, ...]
    per_minute: int
    created_at: float
    revoked_at: float | None = None
    user: str | None = None


class ApiKeys(Repository):
    def add(
        self,
        name: str,
        scopes: Iterable[Scope] = USUAL,
        per_minute: int = PER_MINUTE,
        user: str | None = None,
    ) -> tuple[ApiKey, str]:
        """Return a new key and its text, which is kept nowhere. Raises StoreError, Conflict, and NotFound for a user.

        A revoked key keeps its name, since what was asked with it does; a person's goes with the person.
        """
        if not re.fullmatch(NAME, name):
            raise StoreError(
                f"{name!r} is no name for a key. Use letters, digits, dots, dashes and underscores, 64 at most."
            )
        wanted = tuple(Scope(scope) for scope in scopes)
        if not wanted or per_minute < 1:
            raise StoreError("A key needs something that it may do, and at least one request a minute.")
        text = f"sh-{secrets.token_urlsafe(32)}"
        with self._file.writing() as transaction:
            if self._rows("SELECT 1 FROM api_keys WHERE name = ?", [name]):
                raise Conflict(f"There is a key {name!r} already, or there was one. Choose another name.")
            owner = self._other(Users).find(user).name if user else None
            made = ApiKey(name, wanted, per_minute, self._clock(), user=owner)
            transaction.insert("api_keys", **vars(made), key_hash=token_hash(text))
            detail: Detail = {"scopes": ", ".join(wanted), "per_minute": per_minute, "user": owner}
            self._other(Audits).record(AuditAction.KEY_ADDED, name, detail)
        return made, text

    def revoke(self, name: str) -> ApiKey:
        """End a key; its next request is refused. Raises NotFound, Conflict where it was revoked before."""
        with self._file.writing() as transaction:
            key = self._one(ApiKey, "SELECT * FROM api_keys WHERE name = ?", [name], f"key {name!r}")
            if key.revoked_at is not None:
                raise Conflict(f"The key {key.name!r} was revoked before.")
            now = self._clock()
            transaction.execute("UPDATE api_keys SET revoked_at = ? WHERE name = ?", [now, key.name])
            self._other(Audits).record(AuditAction.KEY_REVOKED, key.name)
        return replace(key, revoked_at=now)

    def all(self) -> list[ApiKey]:
        """Return all keys by name, revoked ones too."""
        return self._all(ApiKey, "SELECT * FROM api_keys ORDER BY name")

    def of(self, text: str) -> ApiKey | None:
        """Return the key of this text, unless it is revoked; a person's may do no more than the role allows now."""
        for row in self._rows(_OF_HASH, [token_hash(text)]):
            key, allowed = record_of(ApiKey, row), Scope if row["role"] in (None, UserRole.ADMIN) else USUAL
            return replace(key, scopes=tuple(scope for scope in key.scopes if scope in allowed))
        return None


_FILE = "SELECT id, owner, name, created_at, length(content) AS bytes FROM api_files"
_JOB = "SELECT * FROM api_jobs"


@dataclass(frozen=True)
class ApiFile:
    """An uploaded file, without its content."""

    id: str
    owner: str
    name: str
    created_at: float
    bytes: int


@dataclass(frozen=True)
class ApiJob:
    """A retrain that was asked for with a file of examples; `imported` says what came of the file."""

    id: str
    owner: str
    assistant_id: str
    file_id: str
    model: str  # as the client named it
    imported: str
    created_at: float
    cancelled_at: float | None = None
    validation_file_id: str | None = None  # its examples are the gate's

    @property
    def trigger(self) -> str:
        """The reason of its run."""
        return f"fine-tuning job {self.id}"


class ApiFiles(Repository):
    def add(self, owner: str, name: str, content: bytes) -> ApiFile:
        id, now = f"file-{self._new_id()}", self._clock()
        with self._file.writing() as transaction:
            transaction.insert("api_files", id=id, owner=owner, name=name, created_at=now, content=content)
        return ApiFile(id, owner, name, now, len(content))

    def all(self, owner: str) -> list[ApiFile]:
        """Return the owner's, newest first."""
        return self._all(ApiFile, f"{_FILE} WHERE owner = ? ORDER BY created_at DESC, id", [owner])

    def get(self, owner: str, id: str) -> ApiFile:
        """Raises NotFound, also for another owner's."""
        return self._one(ApiFile, f"{_FILE} WHERE owner = ? AND id = ?", [owner, id], f"file {id!r}")

    def content(self, owner: str, id: str) -> bytes:
        """Raises NotFound, also for another owner's."""
        self.get(owner, id)
        return bytes(self._rows("SELECT content FROM api_files WHERE id = ?", [id])[0]["content"])

    def remove(self, owner: str, id: str) -> None:
        """Remove the file; what was imported from it stays. Raises NotFound, also for another owner's."""
        if not self._execute("DELETE FROM api_files WHERE owner = ? AND id = ?", [owner, id]):
            raise NotFound(f"There is no file {id!r}.")
        self._file.empty_wal()


class ApiJobs(Repository):
    def add(
        self,
        owner: str,
        assistant_id: str,
        file_id: str,
        model: str,
        imported: str,
        validation_file_id: str | None = None,
    ) -> ApiJob:
        """Keep a job and ask the trainer for its run, both or none."""
        id, now = f"ftjob-{self._new_id()}", self._clock()
        made = ApiJob(id, owner, assistant_id, file_id, model, imported, now, None, validation_file_id)
        with self._file.writing() as transaction:
            transaction.insert("api_jobs", **vars(made))
            self._other(Runs).request(assistant_id, made.trigger)
        return made

    def all(self, owner: str) -> list[ApiJob]:
        """Return the owner's, newest first."""
        return self._all(ApiJob, f"{_JOB} WHERE owner = ? ORDER BY created_at DESC, id", [owner])

    def get(self, owner: str, id: str) -> ApiJob:
        """Raises NotFound, also for another owner's."""
        return self._one(ApiJob, f"{_JOB} WHERE owner = ? AND id = ?", [owner, id], f"fine-tuning job {id!r}")

    def cancel(self, owner: str, id: str) -> ApiJob:
        """Take back a job whose run has not begun. Raises NotFound, Conflict for one that has."""
        with self._file.writing() as transaction:
            job = self.get(owner, id)
            take_back = "DELETE FROM training_requests WHERE assistant_id = ? AND trigger = ?"
            if not transaction.execute(take_back, [job.assistant_id, job.trigger]).rowcount:
                raise Conflict(f"The run of {id!r} has begun, or has ended: it cannot be cancelled any more.")
            transaction.execute("UPDATE api_jobs SET cancelled_at = ? WHERE id = ?", [self._clock(), id])
            return self.get(owner, id)
