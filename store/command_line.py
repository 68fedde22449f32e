"""What the commands of the store share: the data directory, the output and errors in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from store.errors import StoreError
from store.store import Store

FILE_NAME = "shorthand.sqlite"
BUSY_TIMEOUT_S = 10.0
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


def open_store(data_dir: Path, create: bool = False) -> Store:
    return Store(data_dir / FILE_NAME, busy_timeout_s=BUSY_TIMEOUT_S, create=create)
