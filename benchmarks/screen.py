"""Progress of a long benchmark: bars with the time that is left on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_LINE_EVERY_S = 30.0


class Screen:
    """One console; a bar at a time."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console()

    def say(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, markup=False, highlight=False)

    @contextmanager
    def bar(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """A function of (done, total) that moves the bar."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
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
