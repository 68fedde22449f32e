"""What goes wrong is written with where, and never with what: an error's message often quotes what somebody typed."""

import logging
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, TextIO


def without_texts(error: BaseException | None) -> str:
    """The traceback, where each error has its type in place of its message."""
    lines = list[str]()
    while error is not None:
        grouped = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        inner = map(without_texts, grouped)
        frames = traceback.format_tb(error.__traceback__)
        lines.insert(0, "".join([*frames, type(error).__qualname__, "\n", *inner]))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "".join(lines)


def run(command: Callable[[], object]) -> None:
    """The whole process: what ends it or one of its threads, and what is logged, is without texts."""
    threading.excepthook = lambda given: _print(given.exc_value)
    sys.unraisablehook = lambda given: _print(given.exc_value)
    log_to(sys.stderr, logging.WARNING)
    try:
        command()
    except Exception as error:
        if isinstance(error, OSError) and error.filename:
            sys.exit(f"{error.filename} cannot be used: {error.strerror}. Make it readable and writable.")
        _print(error)
        sys.exit(1)


def log_to(stream: TextIO, level: int) -> None:
    """Messages alone; where one comes with an error, without what the error says."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(WithoutTexts())
    logging.basicConfig(handlers=[handler], level=level, force=True)


class WithoutTexts(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        # After its first line asyncio shows the failed task, with what its error says.
        if record.name == "asyncio":
            record.message = record.message.partition("\n")[0]
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return without_texts(ei[1])


def _print(error: BaseException | None) -> None:
    print(without_texts(error), end="", file=sys.stderr, flush=True)
