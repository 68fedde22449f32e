"""The commands `python -m store key ...`: keys with which programs use the API."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from store.api_keys import PER_MINUTE, USUAL, Scope
from store.user_commands import DEFAULT_DATA_DIR, DataDir, opened, out

app = typer.Typer(
    no_args_is_help=True, help="Make, list and revoke the keys with which programs use the API."
)

Name = Annotated[str, typer.Argument(help="The app's name; what it asks and rates is kept under api:NAME.")]


@app.command(epilog="Example: python -m store key add shop --data-dir data")
def add(
    name: Name,
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


@app.command("list", epilog="Example: python -m store key list --data-dir data")
def list_(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show the keys and what they may do."""
    with opened(data_dir) as store:
        keys = store.api_keys.all()
    if not keys:
        out.print("There are no keys. Where nobody has to sign in, programs on this machine need none.")
        return
    table = Table("name", "of", "may", "a minute", "added", "revoked")
    for key in keys:
        days = (
            time.strftime("%Y-%m-%d", time.localtime(at)) if at else ""
            for at in (key.created_at, key.revoked_at)
        )
        table.add_row(
            escape(key.name), escape(key.user or ""), ", ".join(key.scopes), f"{key.per_minute:,}", *days
        )
    out.print(table)


@app.command(epilog="Example: python -m store key revoke shop --data-dir data")
def revoke(name: Name, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """End a key: its next request is refused. What was asked with it stays."""
    with opened(data_dir) as store:
        key = store.api_keys.revoke(name)
    out.print(f"{escape(key.name)} is revoked.")
