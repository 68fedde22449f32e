"""Reads SQLite's write-ahead log: which transactions are in it, and whether one was broken off.

The format: https://sqlite.org/fileformat2.html#the_write_ahead_log
"""

from dataclasses import dataclass
from pathlib import Path

_HEADER, _FRAME = 32, 24  # bytes, before all pages and before each


@dataclass(frozen=True)
class Log:
    transactions: int
    is_broken_off: bool  # pages of one that has no end follow


def read_log(store: Path) -> Log:
    """Read the log beside this file; what an earlier round of the log left behind does not count."""
    path = store.with_name(f"{store.name}-wal")
    log = path.read_bytes() if path.exists() else b""
    page, salts = int.from_bytes(log[8:12], "big"), log[16:24]
    ends = list[bool]()
    for at in range(_HEADER, len(log), _FRAME + page):
        frame = log[at : at + _FRAME]
        if frame[8:16] != salts:
            break
        # The last page of a transaction says how large the file is then, the others 0.
        ends.append(frame[4:8] != bytes(4) and len(log) >= at + _FRAME + page)
    return Log(sum(ends), bool(ends) and not ends[-1])
