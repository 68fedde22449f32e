"""People who may sign in, and their roles. Without any user the product is one person's, who needs no password."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from store.audit import AuditAction, record
from store.connection import Transaction
from store.errors import Conflict, NotFound, StoreError
from store.passwords import fits, hash_of
from store.repository import Repository
from store.rows import mapper

LOCAL = "local"  # the one person of a store without users: owner, rater and reviewer

# ASCII alone: no two names look alike. No colon: “shell:ann” is not Ann (see `audit`).
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
# Whom the product itself calls so, as raters or as actors of the audit log.
_TAKEN = frozenset({"trainer", "import", "sample"})


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
        """Raises StoreError for a name that cannot be used, BadPassword, Conflict for a taken name.

        The first user has to be an admin: nobody else could make changes from then on.
        """
        if not _NAME.fullmatch(name) or name.lower() in _TAKEN:
            raise StoreError(
                f"{name!r} cannot be a name. Use up to 64 of the letters A-Z and a-z, digits and . _ @ -, beginning "
                f"with a letter or digit; {', '.join(sorted(_TAKEN))} are taken."
            )
        kept = hash_of(password)
        with self._file.writing() as transaction:
            if role is not UserRole.ADMIN and not _any(transaction):
                raise Conflict("The first user has to be an admin. Add one with --role admin.")
            if same := transaction.row("SELECT name FROM users WHERE name = ?", [name]):
                raise Conflict(f"There is a user {same['name']!r} already. Choose another name.")
            now = self._clock()
            transaction.insert("users", name=name, role=role, password=kept, created_at=now, changed_at=now)
            record(transaction, now, AuditAction.USER_ADDED, name, {"role": role})
            return user_of(_one(transaction, name))

    def change_role(self, name: str, role: UserRole) -> User:
        """From the next click on. Raises NotFound, and Conflict for the last admin."""
        with self._file.writing() as transaction:
            old = user_of(_one(transaction, name))
            if role is not UserRole.ADMIN:
                _keep_an_admin(transaction, old)
            transaction.execute("UPDATE users SET role = ? WHERE name = ?", [role, old.name])
            record(
                transaction,
                self._clock(),
                AuditAction.ROLE_CHANGED,
                old.name,
                {"role": role, "before": old.role},
            )
            return user_of(_one(transaction, old.name))

    def change_password(self, name: str, password: str) -> User:
        """Also ends the user's sessions. Raises NotFound, BadPassword."""
        kept = hash_of(password)
        with self._file.writing() as transaction:
            user = user_of(_one(transaction, name))
            now = self._clock()
            change = "UPDATE users SET password = ?, changed_at = ? WHERE name = ?"
            transaction.execute(change, [kept, now, user.name])
            transaction.execute("DELETE FROM sessions WHERE user = ?", [user.name])
            record(transaction, now, AuditAction.PASSWORD_CHANGED, user.name)
            return user_of(_one(transaction, user.name))

    def remove(self, name: str) -> None:
        """And their sessions; what they wrote stays. Raises NotFound, and Conflict for the last admin of several."""
        with self._file.writing() as transaction:
            user = user_of(_one(transaction, name))
            _keep_an_admin(transaction, user)
            transaction.execute("DELETE FROM users WHERE name = ?", [user.name])
            record(transaction, self._clock(), AuditAction.USER_REMOVED, user.name, {"role": user.role})

    def get(self, name: str) -> User:
        """By the very name, in the same case. Raises NotFound."""
        with self._file.reading() as transaction:
            found = _one(transaction, name)
        if found["name"] != name:
            raise NotFound(f"There is no user {name!r}.")
        return user_of(found)

    def all(self) -> list[User]:
        """By name."""
        return self._all(user_of, "SELECT * FROM users ORDER BY name")

    def any(self) -> bool:
        """Whether people have to sign in."""
        with self._file.reading() as transaction:
            return _any(transaction)

    def check_password(self, name: str, password: str) -> User | None:
        """The user, or None for a wrong password or an unknown name: both take as long. Names as they were made."""
        with self._file.reading() as transaction:
            row = transaction.row("SELECT * FROM users WHERE name = ? COLLATE BINARY", [name])
        right = fits(password, row["password"] if row else None)
        return user_of(row) if right and row else None


def _any(transaction: Transaction) -> bool:
    return transaction.row("SELECT 1 FROM users LIMIT 1") is not None


def _one(transaction: Transaction, name: str) -> sqlite3.Row:
    return transaction.one("SELECT * FROM users WHERE name = ?", [name], f"user {name!r}")


def _keep_an_admin(transaction: Transaction, user: User) -> None:
    others = transaction.rows("SELECT role FROM users WHERE name <> ?", [user.name])
    if user.role is UserRole.ADMIN and others and all(row["role"] != UserRole.ADMIN for row in others):
        raise Conflict(f"{user.name!r} is the last admin. Make another user an admin first.")


user_of = mapper(User)
