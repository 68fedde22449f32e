"""The lines of a process → a file beside which at most one older is kept; what cannot be written is counted.

In: lines. Out: a file, private to its owner. Place in the flow: `process` reads what vLLM and the trainer say, line by
line, and must go on reading: a process whose output nobody takes stops at its 65,536th byte. Does not know what the
lines say.
"""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path

_MOST_BYTES = 20 << 20


class LogFile:
    """Appends to `path`. Nothing raises OSError: on a full disk lines are lost, and their number is noted later."""

    def __init__(self, path: Path):
        self._path = path
        self._file: FileIO | None = None
        self._lost = 0

    def begin(self) -> None:
        """A new life of the process: what has grown long is put aside."""
        try:
            if self._path.stat().st_size > _MOST_BYTES:
                self._path.replace(self._path.with_suffix(".old.log"))
        except OSError:
            return  # there is none yet, or it goes on in the same one

    def write(self, line: bytes) -> None:
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = FileIO(self._path, "a", opener=_private)  # unbuffered: what was written is there
            if self._lost:
                self._put(b"\n(%d lines are missing here: they could not be written)\n" % self._lost)
                self._lost = 0
            self._put(line)
        except OSError:
            self._lost += 1

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _put(self, line: bytes) -> None:
        assert self._file is not None
        while line:  # a disk that is nearly full takes a part
            line = line[self._file.write(line) or 0 :]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
