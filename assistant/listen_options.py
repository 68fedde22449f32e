"""Options of the commands that listen on a port: who may be believed, where a proxy leaves them, and their log."""

from ipaddress import ip_network
from typing import Annotated

import typer


def _networks(given: list[str] | None) -> list[str]:
    for one in given or ():
        try:
            ip_network(one)
        except ValueError as error:
            raise typer.BadParameter(
                f"{error}. Give an address such as 10.0.0.2, or a network such as 10.0.0.0/24."
            ) from error
    return given or []


TrustedProxy = Annotated[
    list[str] | None,
    typer.Option(
        callback=_networks,
        help="Address or network of a proxy elsewhere that says who asks; may be repeated.",
    ),
]
RootPath = Annotated[str, typer.Option(help="Sub-path that a proxy leaves on, such as /shorthand.")]
RequestLogTarget = Annotated[
    str | None,
    typer.Option(
        help="Where a line for each request goes; - is standard output; default: a file in the data directory."
    ),
]
