"""Keeps the keys with which programs use the API: each is shown once, and only its hash is kept."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from store.accounts import UserRole, Users, token_hash
from store.audit import AuditAction, Detail, record
from store.columns import mapper
from store.connection import Repository
from store.errors import Conflict, StoreError

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
        """Return a new key and its text, which is kept nowhere. Raises StoreError, Conflict for a taken name, NotFound
        for a user.

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
            if transaction.row("SELECT 1 FROM api_keys WHERE name = ?", [name]):
                raise Conflict(f"There is a key {name!r} already, or there was one. Choose another name.")
            owner = self._other(Users).find(user).name if user else None
            made = ApiKey(name, wanted, per_minute, self._clock(), user=owner)
            transaction.insert("api_keys", **vars(made), key_hash=token_hash(text))
            detail: Detail = {"scopes": ", ".join(wanted), "per_minute": per_minute, "user": owner}
            record(transaction, made.created_at, AuditAction.KEY_ADDED, name, detail)
        return made, text

    def revoke(self, name: str) -> ApiKey:
        """End a key; its next request is refused. Raises NotFound, Conflict where it was revoked before."""
        with self._file.writing() as transaction:
            key = self._one(_key, "SELECT * FROM api_keys WHERE name = ?", [name], f"key {name!r}")
            if key.revoked_at is not None:
                raise Conflict(f"The key {key.name!r} was revoked before.")
            now = self._clock()
            transaction.execute("UPDATE api_keys SET revoked_at = ? WHERE name = ?", [now, key.name])
            record(transaction, now, AuditAction.KEY_REVOKED, key.name)
        return self._one(_key, "SELECT * FROM api_keys WHERE name = ?", [name], f"key {name!r}")

    def all(self) -> list[ApiKey]:
        """Return all keys by name, revoked ones too."""
        return self._all(_key, "SELECT * FROM api_keys ORDER BY name")

    def of(self, text: str) -> ApiKey | None:
        """Return the key that has this text and is not revoked, with what it may do now: a person's at most what the
        role allows.
        """
        row = next(iter(self._rows(_OF_HASH, [token_hash(text)])), None)
        if row is None:
            return None
        key, allowed = _key(row), Scope if row["role"] in (None, UserRole.ADMIN) else USUAL
        return replace(key, scopes=tuple(scope for scope in key.scopes if scope in allowed))


_key = mapper(ApiKey)
