"""Where the servers are, for the other processes of the same data directory.

In: what the app started or was given. Out: `server.json`, readable by its owner alone since it holds the key.
Does not know whether the servers answer.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

_NAME = "server.json"


class NoServer(Exception):
    """No app has left an address in this data directory; the message says how to start one."""


@dataclass(frozen=True)
class ServerAddress:
    """Base URLs of servers that serve the same model, their key, the model's directory here, its context in tokens."""

    urls: tuple[str, ...]
    key: str | None
    model_dir: str
    context: int

    def write(self, data_dir: Path) -> None:
        aside = data_dir / f".{_NAME}"
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.fchmod(descriptor, 0o600)  # one that was left behind keeps its own mode
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(self), file)
        os.replace(aside, data_dir / _NAME)

    @classmethod
    def read(cls, data_dir: Path) -> ServerAddress:
        try:
            values = json.loads((data_dir / _NAME).read_text())
            return cls(tuple(values["urls"]), values["key"], values["model_dir"], values["context"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NoServer(
                f"No server is known in {data_dir}. Start the app there first: python app.py --data-dir {data_dir}"
            ) from error
