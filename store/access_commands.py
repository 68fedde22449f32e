"""The commands `python -m store user ...` and `python -m store key ...`, and what all commands of the store share.

Passwords come from a prompt or from standard input, never from the command line, where every user of the machine could
read them.
"""

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
from store.api_clients import PER_MINUTE, USUAL, Scope
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


users = typer.Typer(no_args_is_help=True, help="Make, list, change and remove the people who may sign in.")
keys = typer.Typer(
    no_args_is_help=True, help="Make, list and revoke the keys with which programs use the API."
)

Name = Annotated[str, typer.Argument(help="The name that is typed to sign in; ratings are given under it.")]
App = Annotated[str, typer.Argument(help="The app's name; what it asks and rates is kept under api:NAME.")]


@users.command(epilog="Example: python -m store user add ann --role admin --data-dir data")
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


@users.command("list", epilog="Example: python -m store user list --data-dir data")
def list_(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show who may sign in."""
    with opened(data_dir) as store:
        found = store.users.all()
    if not found:
        out.print("There are no users: everybody who reaches the page on this machine may do everything.")
        return
    table = Table("name", "role", "added", "password of")
    for user in found:
        table.add_row(escape(user.name), user.role, _day(user.created_at), _day(user.changed_at))
    out.print(table)


@users.command(epilog="Example: python -m store user role bo reviewer --data-dir data")
def role(
    name: Name,
    role: Annotated[UserRole, typer.Argument(help="The new role.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Change what a user may do; it holds from the next click on."""
    with opened(data_dir) as store:
        user = store.users.change_role(name, role)
    out.print(f"{escape(user.name)} is {user.role} now.")


@users.command(epilog="Example: python -m store user password bo --data-dir data")
def password(name: Name, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Set a new password, asked for or read from standard input; it ends the user's sessions."""
    with opened(data_dir) as store:
        user = store.users.change_password(store.users.find(name).name, _password())
    out.print(f"{escape(user.name)} has a new password and has to sign in again.")


@users.command(epilog="Example: python -m store user remove bo --data-dir data")
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


@keys.command("add", epilog="Example: python -m store key add shop --data-dir data")
def add_key(
    name: App,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; default: chat and feedback. May be repeated.")
    ] = None,
    per_minute: Annotated[int, typer.Option(min=1, help="Requests.")] = PER_MINUTE,
    user: Annotated[
        str | None, typer.Option(help="Whose it is: it asks as this person, and may do what the role may.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Make a key and print it, once: only its hash is kept."""
    with opened(data_dir, create=True) as store:
        _, text = store.api_keys.add(name, scope or USUAL, per_minute, user)
    out.print(text, markup=False)


@keys.command("list", epilog="Example: python -m store key list --data-dir data")
def list_keys(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show the keys and what they may do."""
    with opened(data_dir) as store:
        found = store.api_keys.all()
    if not found:
        out.print("There are no keys. Where nobody has to sign in, programs on this machine need none.")
        return
    table = Table("name", "of", "may", "a minute", "added", "revoked")
    for key in found:
        may, days = ", ".join(key.scopes), (_day(key.created_at), _day(key.revoked_at))
        table.add_row(escape(key.name), escape(key.user or ""), may, f"{key.per_minute:,}", *days)
    out.print(table)


@keys.command("revoke", epilog="Example: python -m store key revoke shop --data-dir data")
def revoke_key(name: App, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """End a key: its next request is refused. What was asked with it stays."""
    with opened(data_dir) as store:
        key = store.api_keys.revoke(name)
    out.print(f"{escape(key.name)} is revoked.")


def _day(at: float | None) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at)) if at else ""
