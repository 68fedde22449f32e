"""What goes wrong is logged with where, and never with what: an error's message often quotes what somebody typed."""

import asyncio
import logging
import sys
from types import SimpleNamespace
from typing import Any

from gradio import queueing, route_utils, routes

from store.tracebacks import WithoutTexts, without_texts

_log = logging.getLogger(__name__)


def keep_texts_out() -> None:
    """For this process: what Gradio prints itself, and what is logged."""
    handler = logging.StreamHandler()
    handler.setFormatter(WithoutTexts("%(levelname)s: %(message)s"))
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
