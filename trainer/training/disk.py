"""What torch and safetensors raise when a file could not be written → an OSError that says which disk and what is left.

In: a directory that is written to. Out: the same errors, in words. Place in the flow: around every save of the training
code. safetensors raises an error class of its own and torch a RuntimeError about positions (“unexpected pos 576 vs
534”), neither of which says that a disk is full. Does not know what is saved.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk's limit, the user's, the process's


@contextmanager
def saving_below(directory: Path) -> Iterator[None]:
    """Raises OSError where a save within failed."""
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        raise OSError(errno.EIO, _in_words(directory, str(error))) from error
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise OSError(error.errno, _in_words(directory, error.strerror or "")) from error


def _in_words(directory: Path, what: str) -> str:
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 2**20
    return f"{directory} could not be written ({what}); {free:,.0f} MiB are free there. Free some space and train again"
