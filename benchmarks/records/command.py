"""What the long benchmarks have in common as commands: how they end, and how they are named in a result.

In: this process's arguments. Out: exits with a message that says what to do. Does not know what is measured.
"""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import NoReturn

import typer

from assistant.adapter_files import BadAdapter
from assistant.server_file import NoServer
from assistant.tokenizer import TokenizerError
from assistant.vllm_client import VllmError
from benchmarks.servers.app_process import AppFailed
from benchmarks.tasks.retrain import RetrainFailed
from store import StoreError
from trainer.proof.scorers import ScorerFailed

_EXPECTED = (
    AppFailed,
    BadAdapter,
    NoServer,
    TokenizerError,
    VllmError,
    StoreError,
    ScorerFailed,
    RetrainFailed,
)


def command_line(module: str) -> str:
    """The command as others can run it: of an absolute path, which only this machine has, the last two parts."""
    words = ["/".join(PurePath(word).parts[-2:]) if word.startswith("/") else word for word in sys.argv[1:]]
    return shlex.join(["python", "-m", module, *words])


@contextmanager
def resumable(module: str) -> Iterator[None]:
    """Ends politely: what was started is taken down, and what is done so far is in the result."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it otherwise
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    again = shlex.join(["python", "-m", module, *sys.argv[1:]])
    try:
        yield
    except KeyboardInterrupt:
        fail(f"Stopped. The same command goes on from here: {again}", 130)
    except _EXPECTED as error:
        fail(f"{error}\nThe same command goes on from here.", 1)


def fail(message: str, status: int = 2) -> NoReturn:
    """Say what is wrong and end; 2 is for what was asked, 1 for what happened."""
    print(message, file=sys.stderr)
    raise typer.Exit(status)
