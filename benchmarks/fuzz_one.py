"""One reader under atheris, in a process that ends with the search or with a finding: it can be searched only once.

The product's own modules are instrumented, so that the search sees which of their branches it reaches.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["assistant", "store", "trainer", "benchmarks.tasks.task", "markdown_it"]
):
    from benchmarks.fuzz_targets import TARGETS

if __name__ == "__main__":
    name = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as folder:
        atheris.Setup(sys.argv, TARGETS[name](Path(folder)))
        atheris.Fuzz()
