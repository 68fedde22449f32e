"""What goes wrong is logged with where, and never with what: an error's message often quotes what somebody typed."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from types import SimpleNamespace
from typing import Any

from gradio import queueing, route_utils, routes

_log = logging.getLogger(__name__)


def without_texts(error: BaseException | None) -> str:
    """The traceback, where each error has its type in place of its message."""
    lines = list[str]()
    while error is not None:
        grouped = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        inner = [without_texts(one) for one in grouped]
        lines.insert(
            0, "".join([*traceback.format_tb(error.__traceback__), type(error).__qualname__, "\n", *inner])
        )
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "".join(lines)


class _Formatter(logging.Formatter):
    def formatException(self, ei: Any) -> str:
        return without_texts(ei[1])


def keep_texts_out() -> None:
    """For this process: what Gradio prints itself, and what is logged."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler])
    gradios: Any = (queueing, route_utils, routes)
    for module in gradios:
        module.traceback = SimpleNamespace(print_exc=_log_current)


def keep_texts_out_of_loop() -> None:
    """For the running event loop, which would print a failed task with its error."""
    asyncio.get_running_loop().set_exception_handler(_log_failed_task)


def _log_current() -> None:
    _log.error("An event of the page failed.\n%s", without_texts(sys.exception()))


def _log_failed_task(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    _log.error("%s\n%s", context["message"], without_texts(context.get("exception")))
