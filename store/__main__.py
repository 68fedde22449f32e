"""The command `python -m store`: look after the store of a data directory, import and export conversations.

Exit code 0, 1 when `check` found problems or `import` refused rows, 2 when something could not be done. Never creates a
store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from store import user_commands
from store.connection import DataFile
from store.errors import StoreError
from store.garbage import collect_rarely
from store.io.exporting import EXPORT_HELP, STDOUT, export_file
from store.io.formats import NAMES, WRITTEN
from store.io.importing import IMPORT_HELP, import_file
from store.io.stable_ids import ImportOptions
from store.maintenance import backup_file
from store.store import Store
from store.user_commands import (
    BUSY_TIMEOUT_S,
    DEFAULT_DATA_DIR,
    FILE_NAME,
    DataDir,
    err,
    errors_in_words,
    open_store,
    out,
)

app = typer.Typer(help="Look after Shorthand's memory: the file shorthand.sqlite in the data directory.")
app.add_typer(user_commands.app, name="user")
app.command(epilog="Example: python -m store audit --action promoted --data-dir data")(user_commands.audit)

Assistant = Annotated[
    str, typer.Option("--assistant", help="Which assistant; needed when there are several.")
]


@app.command(epilog="Example: python -m store stats --data-dir data")
def stats(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show how many conversations, ratings, runs and so on there are."""
    with errors_in_words(), open_store(data_dir) as store:
        table = Table("what", "how many", title=escape(str(store.path)))
        table.columns[1].justify = "right"
        for name, count in store.maintenance.stats().items():
            table.add_row(name, f"{count:,}")
    out.print(table)


@app.command(epilog="Example: python -m store check --data-dir data")
def check(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Look for damage and for records that contradict each other; exit code 1 when there are any."""
    with errors_in_words(), open_store(data_dir) as store:
        problems = store.maintenance.check()
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
    with errors_in_words():
        file = DataFile(data_dir / FILE_NAME, BUSY_TIMEOUT_S, create=False)
        target = backup_file(file, dest)
        file.close()
    out.print(f"Saved {target.stat().st_size:,} bytes to {escape(str(target))}.")


@app.command("export", help=EXPORT_HELP, epilog="Example: python -m store export data.jsonl --data-dir data")
def export_(
    dest: Annotated[Path, typer.Argument(help="The new file, or - for standard output.")],
    format: Annotated[str, typer.Option(help=f"One of {', '.join(WRITTEN)}.")] = "shorthand",
    assistant: Assistant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    with errors_in_words(), open_store(data_dir) as store:
        chosen = _assistant(store, assistant)
        total = store.transfer.count(chosen)
        with _bar(
            f"Exporting {chosen}", total, MofNCompleteColumn(), TextColumn("conversations")
        ) as on_progress:
            rows = export_file(store, chosen, dest, format, on_progress)
    console = err if dest == STDOUT else out  # standard output is the file
    console.print(
        f"Wrote {rows:,} rows of {total:,} conversations to {escape(str(dest))} (format: {format})."
    )


@app.command(
    "import", help=IMPORT_HELP, epilog="Example: python -m store import chats.jsonl --approve --data-dir data"
)
def import_(
    source: Annotated[Path, typer.Argument(help="The file; it is only read.")],
    format: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(NAMES)}; found out where it is not given.")
    ] = None,
    assistant: Assistant = "",
    rater: Annotated[str, typer.Option(help="Who rated, where the file does not say.")] = "import",
    approve: Annotated[bool, typer.Option("--approve", help="Rate answers up that have no rating.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    with errors_in_words(), open_store(data_dir) as store:
        chosen = _assistant(store, assistant)
        options = ImportOptions(chosen, rater.strip() or "import", approve, time.time())
        size = source.stat().st_size if source.is_file() else None
        with _bar(f"Importing {source.name}", size, DownloadColumn(), TransferSpeedColumn()) as on_progress:
            result = import_file(store, source, options, format, on_progress)
    for number, reason in result.refusals.items():
        err.print(f"[red]•[/red] {result.unit} {number}: {escape(reason)}", highlight=False)
    if result.refused > len(result.refusals):
        err.print(f"… and {result.refused - len(result.refusals):,} more.")
    for sentence in result.summary():
        out.print(escape(sentence), highlight=False)
    if result.refused:
        raise typer.Exit(1)


def _assistant(store: Store, wanted: str) -> str:
    found = [assistant.id for assistant in store.assistants.all()]
    if wanted in found:
        return wanted
    if not found:
        raise StoreError(
            "There is no assistant yet. Start the app (make run) and write its prompt, then try again."
        )
    if wanted or len(found) > 1:
        raise StoreError(
            f"Choose an assistant with --assistant: {', '.join(found)}"
            + (f" (not {wanted!r})." if wanted else ".")
        )
    return found[0]


@contextmanager
def _bar(title: str, total: int | None, *columns: ProgressColumn) -> Iterator[Callable[[int], None]]:
    """A function of how much is done; the bar is on standard error, and only on a terminal."""
    shown = (
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*shown, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(escape(title), total=total)
        yield lambda done: progress.update(task, completed=done)


if __name__ == "__main__":
    collect_rarely()
    app(prog_name="python -m store")
