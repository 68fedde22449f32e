"""Keeps the users who may sign in, their passwords as Argon2id hashes, and their sessions."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from store.audit import AuditAction, Audits
from store.columns import record_of
from store.connection import Repository, Transaction
from store.errors import Conflict, StoreError

# NIST SP 800-63B asks for 8 and at least 64. The upper bound keeps a huge text from costing time.
MIN_LENGTH, MAX_LENGTH = 8, 256
# The library's defaults: RFC 9106's second choice, 64 MiB and 3 passes, about 0.1 s of one core.
_hasher = PasswordHasher()


class BadPassword(StoreError):
    """The password cannot be used; the message never repeats it."""


def hash_password(password: str) -> str:
    """Raises BadPassword for one that is too short or too long."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        allowed = f"{MIN_LENGTH} to {MAX_LENGTH}"
        raise BadPassword(f"The password has {len(password):,} characters; it has to have {allowed}.")
    return _hasher.hash(_bytes(password))


def verify_password(password: str, password_hash: str | None) -> bool:
    """Return whether the password has that hash; without a hash (an unknown name) False after as much work."""
    if len(password) > MAX_LENGTH:
        password, password_hash = "", None
    try:
        right = _hasher.verify(password_hash or _dummy_hash(), _bytes(password))
    except (VerificationError, InvalidHashError):
        return False
    return right and password_hash is not None


def _bytes(password: str) -> bytes:
    return password.encode(errors="surrogatepass")  # a lone surrogate is refused as wrong, not as a fault


@cache
def _dummy_hash() -> str:
    """A hash with today's costs that belongs to nobody."""
    return _hasher.hash(b"nobody has this password")


LOCAL = "local"  # the one person of a store without users: owner, rater and reviewer

# ASCII alone: no two names look alike. No colon: “shell:ann” is not Ann (see `audit`).
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
# Whom the product itself calls so, as raters or as actors of the audit log.
_TAKEN = frozenset({"trainer", "import", "sample"})

_USER = "SELECT * FROM users WHERE name = ?"
_REMOVED = "SELECT max(at) AS at FROM audit WHERE action = ? AND subject = ?"
# Wherever a name says whose something is. The audit log, which is never changed, tells the two apart by time.
_NAMED = {
    "conversations": "owner",
    "ratings": "rater",
    "decisions": "reviewer",
    "judgement_requests": "decided_by",
    "dataset_examples": "rater",
    "redaction_rules": "added_by",
    "api_files": "owner",
    "api_jobs": "owner",
}


class UserRole(StrEnum):
    """What somebody may do; each may do what those before may."""

    USER = "user"
    REVIEWER = "reviewer"
    ADMIN = "admin"

    def includes(self, other: UserRole) -> bool:
        order = list(UserRole)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True)
class User:
    """`changed_at` is when the password was set last (UTC seconds, as `created_at`)."""

    name: str
    role: UserRole
    created_at: float
    changed_at: float


class Users(Repository):
    def add(self, name: str, role: UserRole, password: str) -> User:
        """Add a user. Raises StoreError for a name that cannot be used, BadPassword, Conflict for a taken name.

        What a removed user of that name left is kept under another one, such as “bo (removed 2031-05-01 12:00:00)”.
        """
        password_hash = hash_password(password)
        with self._file.writing() as transaction:
            self.check_new(name, role)
            now = self._clock()
            earlier = _set_apart(transaction, name)
            user = User(name, role, now, now)
            transaction.insert("users", **vars(user), password=password_hash)
            self._other(Audits).record(AuditAction.USER_ADDED, name, {"role": role, **earlier})
            return user

    def check_new(self, name: str, role: UserRole) -> None:
        """Raises what `add` does for a name and a role, before anybody thinks of a password."""
        if not _NAME.fullmatch(name) or name.lower() in _TAKEN:
            raise StoreError(
                f"{name!r} cannot be a name. Use up to 64 of the letters A-Z and a-z, digits and . _ @ -, beginning "
                f"with a letter or digit; {', '.join(sorted(_TAKEN))} are taken."
            )
        if role is not UserRole.ADMIN and not self.any():
            raise Conflict("The first user has to be an admin. Add one with the role admin.")
        if same := self._rows(_USER, [name]):
            raise Conflict(f"There is a user {same[0]['name']!r} already. Choose another name.")

    def change_role(self, name: str, role: UserRole) -> User:
        """Change the role, from the next click on. Raises NotFound, and Conflict for the last admin."""
        with self._file.writing() as transaction:
            old = self.find(name)
            if role is not UserRole.ADMIN:
                _keep_an_admin(transaction, old)
            transaction.execute("UPDATE users SET role = ? WHERE name = ?", [role, old.name])
            detail = {"role": role, "before": old.role}
            self._other(Audits).record(AuditAction.ROLE_CHANGED, old.name, detail)
            return replace(old, role=role)

    def change_password(self, name: str, password: str) -> User:
        """Change the password and end the user's sessions. Raises NotFound, BadPassword."""
        password_hash = hash_password(password)
        with self._file.writing() as transaction:
            user = self.find(name)
            now = self._clock()
            change = "UPDATE users SET password = ?, changed_at = ? WHERE name = ?"
            transaction.execute(change, [password_hash, now, user.name])
            transaction.execute("DELETE FROM sessions WHERE user = ?", [user.name])
            self._other(Audits).record(AuditAction.PASSWORD_CHANGED, user.name)
            return replace(user, changed_at=now)

    def remove(self, name: str) -> None:
        """Remove a user and their sessions; what they wrote stays. Raises NotFound, Conflict for the last admin of
        several."""
        with self._file.writing() as transaction:
            user = self.find(name)
            _keep_an_admin(transaction, user)
            transaction.execute("DELETE FROM users WHERE name = ?", [user.name])
            self._other(Audits).record(AuditAction.USER_REMOVED, user.name, {"role": user.role})

    def get(self, name: str) -> User:
        """Return the user of exactly that name, in the same case. Raises NotFound."""
        return self._one(User, _USER + " COLLATE BINARY", [name], f"user {name!r}")

    def find(self, name: str) -> User:
        """Return the user of that name in any case. Raises NotFound."""
        return self._one(User, _USER, [name], f"user {name!r}")

    def all(self) -> list[User]:
        """Return all users by name."""
        return self._all(User, "SELECT * FROM users ORDER BY name")

    def any(self) -> bool:
        """Return whether there is a user, so that people have to sign in."""
        return bool(self._rows("SELECT 1 FROM users LIMIT 1"))

    def check_password(self, name: str, password: str) -> User | None:
        """Return the user, or None for a wrong password or an unknown name: both take as long."""
        row = next(iter(self._rows(_USER + " COLLATE BINARY", [name])), None)
        right = verify_password(password, row["password"] if row else None)
        return record_of(User, row) if right and row else None


def _set_apart(transaction: Transaction, name: str) -> dict[str, str]:
    """Give what a removed user of that name left another name, with which nobody can sign in; for the audit log."""
    at = transaction.rows(_REMOVED, [AuditAction.USER_REMOVED, name])[0]["at"]
    if at is None:
        return {}
    former = f"{name} (removed {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))})"
    for table, column in _NAMED.items():
        transaction.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", [former, name])
    return {"earlier": former}


def _keep_an_admin(transaction: Transaction, user: User) -> None:
    others = transaction.rows("SELECT role FROM users WHERE name <> ?", [user.name])
    if user.role is UserRole.ADMIN and others and all(row["role"] != UserRole.ADMIN for row in others):
        raise Conflict(f"{user.name!r} is the last admin. Make another user an admin first.")


SESSION_S: Final = 7 * 86400.0
_AT_ONCE = 20  # of one user: the oldest go
_OF_TOKEN = """
    SELECT u.* FROM sessions s JOIN users u ON u.name = s.user WHERE s.token_hash = ? AND s.expires_at > ?"""
_OLDEST = """
    DELETE FROM sessions WHERE user = ? AND token_hash NOT IN (
        SELECT token_hash FROM sessions WHERE user = ? ORDER BY expires_at DESC LIMIT ?)"""


class Sessions(Repository):
    def begin(self, name: str, address: str = "") -> str:
        """Return the token of a new session of a user whose password was right. Raises StoreError after a removal."""
        token = secrets.token_urlsafe(32)
        with self._file.writing() as transaction:
            if not self._rows(_USER, [name]):
                raise StoreError(f"The user {name!r} was removed.")
            now = self._clock()
            transaction.execute("DELETE FROM sessions WHERE expires_at <= ?", [now])
            columns = {"token_hash": token_hash(token), "user": name, "expires_at": now + SESSION_S}
            transaction.insert("sessions", **columns)
            transaction.execute(_OLDEST, [name, name, _AT_ONCE])
            self._other(Audits).record(AuditAction.SIGNED_IN, name, {"address": address}, actor=name)
        return token

    def user(self, token: str) -> User | None:
        """Return the user whose session it is; None once it has ended."""
        return self._first(User, _OF_TOKEN, [token_hash(token), self._clock()])

    def end(self, token: str) -> None:
        """Sign out; nothing happens to a token that is no session's."""
        end = "DELETE FROM sessions WHERE token_hash = ? RETURNING user"
        with self._file.writing() as transaction:
            for row in transaction.rows(end, [token_hash(token)]):
                self._other(Audits).record(AuditAction.SIGNED_OUT, row["user"], actor=row["user"])


def token_hash(token: str) -> str:
    """Of a session or an API key: 256 random bits, for which a fast hash is enough."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
