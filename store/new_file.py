"""Writes a new private file, which is complete or not there at all."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.errors import Conflict, NotSaved


@contextmanager
def new_file(target: Path, what: str) -> Iterator[Path]:
    """A path beside `target` to write to, renamed when the block has ended well; the block fsyncs it.

    `what` names the file for people.
    Raises Conflict when there is such a file, NotSaved when it cannot be written; then nothing is left of it.
    """
    if target.exists():
        raise Conflict(f"{target} exists already and is not overwritten. Choose another name.")
    if not target.parent.is_dir():
        raise NotSaved(f"There is no folder {target.parent}. Create it or choose another one.")
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        # What people wrote is readable by the owner alone, as the store is.
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        yield partial
        os.rename(partial, target)
    except (OSError, sqlite3.Error) as error:
        raise NotSaved(
            f"{what} {target} was not written: {error}. Check the folder and its free space."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
