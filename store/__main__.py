"""The command `python -m store`: look after the store of a data directory, import and export conversations.

Exit code 0, 1 when `check` found problems or `import` refused rows, 2 when something could not be done. Only
`user add` and `restore` create a store.
"""

import json
import sys
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from store import access_commands
from store.access_commands import DEFAULT_DATA_DIR, FILE_NAME, DataDir, err, errors_in_words, opened, out
from store.connection import DataFile
from store.errors import StoreError
from store.garbage import collect_rarely
from store.io.exporting import STDOUT, export_file
from store.io.formats import NAMES, WRITTEN
from store.io.importing import ImportResult, import_planned, plan_import
from store.io.meaning import COLUMNS
from store.io.records import ImportOptions
from store.maintenance import backup_file
from store.restoring import TIMED_NAME, remove_older, restore, save_adapters
from store.store import Store

app = typer.Typer(
    rich_markup_mode="markdown",
    help="Look after Shorthand's memory: the file shorthand.sqlite in the data directory.",
)
app.add_typer(access_commands.users, name="user")
app.add_typer(access_commands.keys, name="key")

Assistant = Annotated[
    str, typer.Option("--assistant", help="Which assistant; needed when there are several.")
]


@app.command(epilog="Example: python -m store stats --data-dir data")
def stats(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show how many conversations, ratings, runs and so on there are."""
    with opened(data_dir) as store:
        table = Table("what", "how many", title=escape(str(store.path)))
        table.columns[1].justify = "right"
        for name, count in store.maintenance.stats().items():
            table.add_row(name, f"{count:,}")
    out.print(table)


@app.command(epilog="Example: python -m store check --data-dir data")
def check(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Look for damage and for records that contradict each other; exit code 1 when there are any."""
    with opened(data_dir) as store:
        problems, path = store.maintenance.check(), escape(str(store.path))
    for problem in problems:
        out.print(f"[red]•[/red] {escape(problem)}")
    if problems:
        out.print(f"{len(problems)} problems in {path}. Stop the product and restore a backup.")
        raise typer.Exit(1)
    out.print(f"{path} is sound.")


@app.command(epilog="Example: python -m store backup /backups --keep 14 --data-dir data")
def backup(
    dest: Annotated[Path, typer.Argument(help="The new file, never one that exists; or a folder for many.")],
    keep: Annotated[
        int | None, typer.Option(min=1, help="Of the folder's backups, remove all but so many, the newest.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Copy the store to DEST and the adapters that serve to DEST.adapters, also while the product is running.

    In a folder the file is named after the time (UTC), such as shorthand-20310501-120000.sqlite.
    """
    folder = dest if dest.is_dir() else None
    if keep and folder is None:
        raise typer.BadParameter(f"--keep goes with a folder; there is no folder {dest}. Create it.")
    if folder:
        dest = folder / time.strftime(TIMED_NAME, time.gmtime())
    # Without opening it as a store, which would bring an older file up to this version.
    with errors_in_words(), closing(DataFile(data_dir / FILE_NAME, create=False)) as file:
        target = backup_file(file, dest)
        saved, missing = save_adapters(target, data_dir)
    size = target.stat().st_size
    out.print(f"Saved {size:,} bytes to {escape(str(target))}, and {len(saved)} adapters beside it.")
    for name in missing:
        err.print(f"[red]•[/red] {escape(name)} is not in {escape(str(data_dir))} and so not in the backup.")
    if folder and keep:
        with errors_in_words():
            remove_older(folder, keep)


@app.command("restore", epilog="Example: python -m store restore /backups/2031-05-01.sqlite --data-dir new")
def restore_(
    backup: Annotated[Path, typer.Argument(help="What `backup` wrote, with its adapters beside it.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Copy a backup and its adapters to a data directory that has no store yet."""
    with errors_in_words():
        names = restore(backup, data_dir / FILE_NAME)
    out.print(f"Restored {escape(str(data_dir / FILE_NAME))} and {len(names)} adapters. Start the app there.")


@app.command("export", epilog="Example: python -m store export data.jsonl --data-dir data")
def export_(
    dest: Annotated[Path, typer.Argument(help="The new file, or - for standard output.")],
    format: Annotated[str, typer.Option(help=f"One of {', '.join(WRITTEN)}.")] = "shorthand",
    assistant: Assistant = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Write an assistant's conversations to a new file, also while the product is running.

    JSON formats are written a row a line; a name that ends in .json makes one list of it.

    Formats: shorthand (everything, read again without loss), openai (approved answers with the turns before them) and
    csv (a table for a spreadsheet). docs/data.md says what each leaves out.
    """
    with opened(data_dir) as store:
        chosen = _assistant(store, assistant)
        total = store.transfer.count(chosen)
        with err.status(f"Exporting {escape(chosen)} ..."):
            rows = export_file(store, chosen, dest, format)
    console = err if dest == STDOUT else out  # standard output is the file
    console.print(
        f"Wrote {rows:,} rows of {total:,} conversations to {escape(str(dest))} (format: {format})."
    )


_COLUMN_HELP = "Which column is which: question=NAME; verdict= for none. May be given several times."


@app.command("import", epilog="Example: python -m store import chats.jsonl --approve --data-dir data")
def import_(
    source: Annotated[Path, typer.Argument(help="The file; it is only read.")],
    format: Annotated[str | None, typer.Option(help=f"One of {', '.join(NAMES)}; else found out.")] = None,
    assistant: Assistant = "",
    rater: Annotated[str, typer.Option(help="Who rated, where the file does not say.")] = "import",
    approve: Annotated[bool, typer.Option("--approve", help="Rate answers up that have no rating.")] = False,
    column: Annotated[list[str] | None, typer.Option(help=_COLUMN_HELP)] = None,
    up_from: Annotated[float | None, typer.Option(help="Ratings on a scale are good from here on.")] = None,
    down_to: Annotated[float | None, typer.Option(help="Ratings on a scale are bad up to here.")] = None,
    day_first: Annotated[
        bool | None, typer.Option("--day-first/--month-first", help="How to read dates such as 10/9/2025.")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Of a file that is not UTF-8, such as cp1252.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Import without asking.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Import conversations and ratings from a file, also while the product is running.

    The whole file is judged first: which tool wrote it, what its columns, ratings and times mean, what would be learned
    and what is left out. On a terminal you are asked before anything is saved; --yes says yes, and without a terminal
    nobody is asked. What can be read in two ways is refused with the option that says which.

    Rated answers and corrections are there to be learned from at once. Answers that the file does not rate stay unrated
    unless you say --approve. What is there already is not imported twice. A row that cannot be imported is named with
    its line and the others are imported; the exit code is then 1.

    docs/data.md says what each format is.
    """
    with opened(data_dir) as store:
        columns = (dict(map(_named_column, column or [])), up_from, down_to, day_first, encoding)
        rater = rater.strip() or "import"
        options = ImportOptions(_assistant(store, assistant), rater, approve, time.time(), *columns)
        with err.status(f"Reading {escape(source.name)} ..."):
            plan = plan_import(source, options, format)
        for sentence in plan.sentences():
            out.print(escape(sentence), highlight=False)
        _print_refusals(plan.found)
        if not yes and _is_terminal() and not typer.confirm("Import this?"):
            out.print("Nothing was imported.")
            raise typer.Exit(1)
        with err.status(f"Importing {escape(source.name)} ..."):
            result = import_planned(store, plan)
    if result.refused > plan.found.refused:  # what the store itself did not take
        _print_refusals(result)
    for sentence in result.summary():
        out.print(escape(sentence), highlight=False)
    if result.refused:
        raise typer.Exit(1)


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _named_column(text: str) -> tuple[str, str]:
    ours, equals, theirs = text.partition("=")
    if ours not in COLUMNS or not equals:
        names = ", ".join(COLUMNS)
        raise StoreError(f"--column {text!r} names no column. Write one of {names}, = and its name.")
    return ours, theirs


def _print_refusals(result: ImportResult) -> None:
    for number, reason in result.refusals.items():
        err.print(f"[red]•[/red] {result.unit} {number}: {escape(reason)}", highlight=False)
    if result.refused > len(result.refusals):
        err.print(f"… and {result.refused - len(result.refusals):,} more.")


@app.command(epilog="Example: python -m store audit --action promoted --data-dir data")
def audit(
    limit: Annotated[int, typer.Option(min=1, help="How many lines, the newest.")] = 100,
    actor: Annotated[str | None, typer.Option(help="Only what this one did.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this, such as “rolled back”.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Show who did what, when and with what outcome, the newest first. Nothing leaves this log."""
    with opened(data_dir) as store:
        entries = store.audit.entries(limit, actor, action)
    for entry in entries:
        if as_json:
            print(json.dumps(asdict(entry), ensure_ascii=False))
            continue
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.at))
        done = f"{entry.actor:<16} {entry.action:<18} {entry.outcome:<8} {entry.subject}"
        print(f"{entry.seq:>6}  {at}  {done} ", *(f"{key}={value}" for key, value in entry.detail.items()))
    if not entries and not as_json:
        out.print("Nothing is recorded yet.")


def _assistant(store: Store, wanted: str) -> str:
    found = [assistant.id for assistant in store.assistants.all()]
    if wanted in found:
        return wanted
    if not found:
        raise StoreError(
            "There is no assistant yet. Start the app (make run) and write its prompt, then try again."
        )
    if wanted or len(found) > 1:
        but = f" (not {wanted!r})" if wanted else ""
        raise StoreError(f"Choose an assistant with --assistant: {', '.join(found)}{but}.")
    return found[0]


if __name__ == "__main__":
    collect_rarely()
    app(prog_name="python -m store")
