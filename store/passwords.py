"""Argon2id hashes of passwords, each with its own salt and costs."""

from __future__ import annotations

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from store.errors import StoreError

# NIST SP 800-63B asks for 8 and at least 64. The upper bound keeps a huge text from costing time.
SHORTEST, LONGEST = 8, 256
# The library's defaults: RFC 9106's second choice, 64 MiB and 3 passes, about 0.1 s of one core.
_hasher = PasswordHasher()


class BadPassword(StoreError):
    """The password cannot be used; the message says what to change and never repeats it."""


def hash_of(password: str) -> str:
    """Raises BadPassword for one that is too short or too long."""
    if len(password) < SHORTEST:
        raise BadPassword(f"The password has {len(password)} characters; at least {SHORTEST} are needed.")
    if len(password) > LONGEST:
        raise BadPassword(f"The password has {len(password):,} characters; at most {LONGEST} are allowed.")
    return _hasher.hash(_bytes(password))


def fits(password: str, kept: str | None) -> bool:
    """Whether the password has that hash. Without a hash (an unknown name) it is False after as much work."""
    if len(password) > LONGEST:
        password, kept = "", None
    try:
        return _hasher.verify(kept or _nobodys(), _bytes(password)) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


def _bytes(password: str) -> bytes:
    return password.encode(errors="surrogatepass")  # a lone surrogate is refused as wrong, not as a fault


@cache
def _nobodys() -> str:
    """A hash with today's costs that belongs to nobody."""
    return _hasher.hash(b"nobody has this password")
