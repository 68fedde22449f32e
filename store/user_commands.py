"""The commands `python -m store user ...`, and what all commands of the store share.

Passwords come from a prompt or from standard input, never from the command line, where every user of the machine could
read them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from store.accounts import MAX_LENGTH, UserRole
from store.errors import StoreError
from store.store import Store

FILE_NAME = "shorthand.sqlite"
DEFAULT_DATA_DIR = Path("data")

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir", envvar="SHORTHAND_DATA_DIR", help="The directory that holds shorthand.sqlite."
    ),
]


@contextmanager
def errors_in_words() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        err.print(f"[red]Error:[/red] {escape(str(error))}")
        raise typer.Exit(2) from error


@contextmanager
def opened(data_dir: Path, create: bool = False) -> Iterator[Store]:
    """The store of a data directory; what it refuses ends the command with exit code 2."""
    with errors_in_words(), Store(data_dir / FILE_NAME, create=create) as store:
        yield store


app = typer.Typer(no_args_is_help=True, help="Make, list, change and remove the people who may sign in.")

Name = Annotated[str, typer.Argument(help="The name that is typed to sign in; ratings are given under it.")]


@app.command(epilog="Example: python -m store user add ann --role admin --data-dir data")
def add(
    name: Name,
    role: Annotated[UserRole, typer.Option(help="What this person may do; see docs/accounts.md.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Add a user; the first one is an admin. From then on everybody has to sign in.

    The password is asked for, or read from standard input when that is no terminal.
    """
    if (data_dir / FILE_NAME).exists():
        with opened(data_dir) as store:
            store.users.check_new(name, role)
    password = _password()
    with opened(data_dir, create=True) as store:
        user = store.users.add(name, role, password)
    out.print(f"Added {escape(user.name)} ({user.role}).")


@app.command("list", epilog="Example: python -m store user list --data-dir data")
def list_(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show who may sign in."""
    with opened(data_dir) as store:
        users = store.users.all()
    if not users:
        out.print("There are no users: everybody who reaches the page on this machine may do everything.")
        return
    table = Table("name", "role", "added", "password of")
    for user in users:
        days = (time.strftime("%Y-%m-%d", time.localtime(at)) for at in (user.created_at, user.changed_at))
        table.add_row(escape(user.name), user.role, *days)
    out.print(table)


@app.command(epilog="Example: python -m store user role bo reviewer --data-dir data")
def role(
    name: Name,
    role: Annotated[UserRole, typer.Argument(help="The new role.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Change what a user may do; it holds from the next click on."""
    with opened(data_dir) as store:
        user = store.users.change_role(name, role)
    out.print(f"{escape(user.name)} is {user.role} now.")


@app.command(epilog="Example: python -m store user password bo --data-dir data")
def password(name: Name, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Set a new password, asked for or read from standard input; it ends the user's sessions."""
    with opened(data_dir) as store:
        user = store.users.change_password(store.users.find(name).name, _password())
    out.print(f"{escape(user.name)} has a new password and has to sign in again.")


@app.command(epilog="Example: python -m store user remove bo --data-dir data")
def remove(name: Name, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Remove a user and end their sessions. What they wrote stays; see python -m trainer erase."""
    with opened(data_dir) as store:
        store.users.remove(name)
    out.print(f"Removed {escape(name)}. What {escape(name)} wrote and rated is still there.")


def _password() -> str:
    """Asked twice on a terminal; else the first line of standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    line = sys.stdin.readline(2 * MAX_LENGTH).rstrip("\r\n")
    if not line:
        err.print("There is no password on standard input. Type one on a terminal, or pipe it in.")
        raise typer.Exit(2)
    return line
