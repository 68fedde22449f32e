"""Signed-in browsers. The store keeps only a hash of each token."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from store.audit import AuditAction, record
from store.errors import StoreError
from store.repository import Repository
from store.users import User, user_of

LASTS_S: Final = 7 * 86400.0
_AT_ONCE = 20  # of one user: the oldest go

_OF_TOKEN = """
    SELECT u.* FROM sessions s JOIN users u ON u.name = s.user WHERE s.token_hash = ? AND s.expires_at > ?"""
_OLDEST = """
    DELETE FROM sessions WHERE user = ? AND token_hash NOT IN (
        SELECT token_hash FROM sessions WHERE user = ? ORDER BY expires_at DESC LIMIT ?)"""


class Sessions(Repository):
    def begin(self, name: str, address: str = "") -> str:
        """The token of a new session of that user, who was asked for the password; `address` is for the audit log.

        Raises StoreError when the user is gone by now.
        """
        token = secrets.token_urlsafe(32)
        with self._file.writing() as transaction:
            if transaction.row("SELECT 1 FROM users WHERE name = ?", [name]) is None:
                raise StoreError(f"The user {name!r} was removed.")
            now = self._clock()
            transaction.execute("DELETE FROM sessions WHERE expires_at <= ?", [now])
            transaction.insert("sessions", token_hash=_hash(token), user=name, expires_at=now + LASTS_S)
            transaction.execute(_OLDEST, [name, name, _AT_ONCE])
            record(transaction, now, AuditAction.SIGNED_IN, name, {"address": address}, actor=name)
        return token

    def user(self, token: str) -> User | None:
        """Whose session it is; None once it has ended."""
        with self._file.reading() as transaction:
            row = transaction.row(_OF_TOKEN, [_hash(token), self._clock()])
        return user_of(row) if row else None

    def end(self, token: str) -> None:
        """Sign out; nothing happens to a token that is no session's."""
        with self._file.writing() as transaction:
            row = transaction.row("SELECT user FROM sessions WHERE token_hash = ?", [_hash(token)])
            if row is not None:
                transaction.execute("DELETE FROM sessions WHERE token_hash = ?", [_hash(token)])
                record(transaction, self._clock(), AuditAction.SIGNED_OUT, row["user"], actor=row["user"])


def _hash(token: str) -> str:
    # A token has 256 random bits: a fast hash is enough, where a password needs a slow one.
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
