"""Disks that fail: a limit for the files of this process, and a process of its own in which single calls fail."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """In bytes. The error is EFBIG, where a full disk gives ENOSPC; libraries make the same of both."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def under_faults(folder: Path, *case: str) -> dict[str, dict[str, Any]]:
    """For “no space”, “I/O error” and “kill -9” at each call: its `calls`, how many ended how, and what was `wrong`."""
    library, results = folder / "failing_calls.so", folder / "under_faults"
    results.mkdir()
    source = _HERE / "failing_calls.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source, "-ldl"], check=True)
    done = subprocess.run(
        [sys.executable, _HERE / "under_faults.py", *case, results],
        cwd=_HERE.parent,
        env={**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": ".", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    print(done.stderr)  # of faults in the program, each with its call
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found
