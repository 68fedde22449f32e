"""Bytes that nobody would write, for one of the readers of other people's bytes; atheris (libFuzzer) chooses them.

The options behind the reader's name are libFuzzer's own. An input that ends the reader is kept in a file, and can be
given again.

    pip install '.[fuzz]'
    python -m benchmarks.fuzz markdown -max_total_time=240
    python -m benchmarks.fuzz markdown crash-0123
"""

import sys
import tempfile
from pathlib import Path

import atheris

# The search sees which branches of these it reaches.
with atheris.instrument_imports(
    include=["assistant", "store", "trainer", "benchmarks.tasks.task", "markdown_it"]
):
    from benchmarks.fuzz_targets import TARGETS, seeds


def main(name: str, options: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        corpus, work = Path(folder) / "corpus", Path(folder) / "work"
        corpus.mkdir()
        work.mkdir()
        for number, data in enumerate(seeds(name, work)):
            (corpus / f"seed-{number}").write_bytes(data)
        inputs = [] if any(not option.startswith("-") for option in options) else [str(corpus)]
        atheris.Setup([f"fuzz {name}", *options, *inputs], TARGETS[name](work))
        atheris.Fuzz()


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(
            f"Name a reader: python -m benchmarks.fuzz READER [options of libFuzzer]. One of {', '.join(TARGETS)}."
        )
    main(sys.argv[1], sys.argv[2:])
