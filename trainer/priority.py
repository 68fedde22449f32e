"""Lowers the priority of training processes: chat answers go first when both want the cores."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_NICE = 10
# Of the session, against others: a quarter of a core beside a busy vLLM, and all of an idle one. With 10, a tenth, a
# training on two cores came to a standstill while a single person chatted without a pause, since vLLM uses both.
_NICE_GROUP = 5
_GROUP = Path("/proc/self/autogroup")


def lower_priority() -> None:
    """Linux weighs the sessions before it weighs the processes in them (`man 7 sched`, autogroup), so that a nice
    process in a session of its own got as much as the server, whatever its niceness. The session of a terminal, which
    has a person's other work in it, is left as it is.
    """
    os.nice(_NICE)
    if _has_terminal():
        return
    with suppress(OSError):  # no Linux, or one without autogroups: niceness alone counts there
        _GROUP.write_text(str(_NICE_GROUP))


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
