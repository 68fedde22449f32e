"""The file of a benchmark that takes long: JSON that is whole at any time, and that only the same command goes on with.

In: a path and a plain record. Out: the record as it was stored. Place in the flow: under `result` (the loop) and
`ablation`. Does not know what is measured.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.tasks.task import Task

# Lists and objects that hold no others stand on one line each.
_INNERMOST = re.compile(r"[\[{][^\[\]{}]*[\]}]")
_LINE_BREAK = re.compile(r"\n\s*")


class ResultError(Exception):
    """The file is not the result of this command; the message says what differs and what to do."""


def read(path: Path, benchmark: str) -> dict[str, Any]:
    """What `benchmark` stored at `path`; raises ResultError."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultError(f"{path} cannot be read as a result ({error}).") from error
    if not isinstance(body, dict) or body.get("benchmark") != benchmark:
        raise ResultError(f"{path} is not a result of `python -m benchmarks.{benchmark}`. Give another file.")
    return body


def read_or_start(path: Path, started: Mapping[str, Any]) -> dict[str, Any]:
    """What an earlier start of the same command left, or `started`, written at once.

    Raises ResultError where the file is of another task or of other settings, OSError.
    """
    if not path.exists():
        write(path, started)
    body = read(path, started["benchmark"])
    differing = [
        f"{name} {body[part].get(name)!r}, now {value!r}"
        for part in ("task", "settings")
        for name, value in started[part].items()
        if body[part].get(name) != value
    ]
    if differing:
        raise ResultError(
            f"{path} is the result of another {started['benchmark']} ({'; '.join(differing)}). Give another --out, or "
            "delete it together with its data directory."
        )
    return body


def write(path: Path, body: Mapping[str, Any]) -> None:
    """Replace the file in one step, and make its folder if there is none; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    text = _INNERMOST.sub(lambda found: _LINE_BREAK.sub(" ", found[0]), json.dumps(body, indent=1))
    with aside.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def task_record(task: Task) -> dict[str, Any]:
    """Which task it was."""
    return {
        "name": task.name,
        "sha256": task.sha256,
        "source": task.source,
        "license": task.license,
        # Without the path of a database, which is another one on every machine.
        "scorer": "sql" if task.scorer.startswith("sql:") else task.scorer,
        "train": len(task.train),
        "test": len(task.test),
        "train_questions_left_out_as_they_are_in_test": task.left_out,
    }
