"""The command `python -m store`: look after the store of a data directory.

In: a data directory. Out: tables and messages on the terminal; exit code 0, 1 when `check` found problems, 2
when something could not be done. Never creates a store.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from store.connection import DataFile
from store.errors import StoreError
from store.maintenance import backup_file
from store.store import Store

FILE_NAME = "shorthand.sqlite"
_BUSY_TIMEOUT_S = 10.0

app = typer.Typer(help="Look after Shorthand's memory: the file shorthand.sqlite in the data directory.")
out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir", envvar="SHORTHAND_DATA_DIR", help="The directory that holds shorthand.sqlite."
    ),
]
DEFAULT_DATA_DIR = Path("data")


@contextmanager
def _errors_in_words() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        err.print(f"[red]Error:[/red] {escape(str(error))}")
        raise typer.Exit(2) from error


def _open(data_dir: Path) -> Store:
    return Store(data_dir / FILE_NAME, busy_timeout_s=_BUSY_TIMEOUT_S, create=False)


@app.command(epilog="Example: python -m store stats --data-dir data")
def stats(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show how many conversations, ratings, runs and so on there are."""
    with _errors_in_words(), _open(data_dir) as store:
        table = Table("what", "how many", title=escape(str(store.path)))
        table.columns[1].justify = "right"
        for name, count in store.stats().items():
            table.add_row(name, f"{count:,}")
    out.print(table)


@app.command(epilog="Example: python -m store check --data-dir data")
def check(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Look for damage and for records that contradict each other; exit code 1 when there are any."""
    with _errors_in_words(), _open(data_dir) as store:
        problems = store.check()
    for problem in problems:
        out.print(f"[red]•[/red] {escape(problem)}")
    if problems:
        out.print(
            f"{len(problems)} problems in {escape(str(store.path))}. Stop the product and restore a backup."
        )
        raise typer.Exit(1)
    out.print(f"{escape(str(store.path))} is sound.")


@app.command(epilog="Example: python -m store backup /backups/shorthand-2031-05-01.sqlite --data-dir data")
def backup(
    dest: Annotated[Path, typer.Argument(help="The new file; an existing one is never overwritten.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Copy the store to DEST, also while the product is running."""
    with _errors_in_words():
        file = DataFile(data_dir / FILE_NAME, _BUSY_TIMEOUT_S, create=False)
        target = backup_file(file, dest)
        file.close()
    out.print(f"Saved {target.stat().st_size:,} bytes to {escape(str(target))}.")


if __name__ == "__main__":
    app(prog_name="python -m store")
