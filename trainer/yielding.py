"""This process to one that waits for its turn: chat answers go before training steps when both want the cores.

In: nothing. Out: the operating system's priorities of this process and of what it starts. Place in the flow: between
fork and exec of every training process. Does not know what is trained.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# A tenth of a core beside a busy vLLM, and all of an idle one. With the least of priorities, 19, the gate would hardly
# come to ask: what it asks keeps vLLM busy itself.
_NICE = 10
_GROUP = Path("/proc/self/autogroup")


def yield_to_chat() -> None:
    """Linux weighs the sessions before it weighs the processes in them (`man 7 sched`, autogroup), so that a nice
    process in a session of its own got as much as the server, whatever its niceness. The session of a terminal, which
    has a person's other work in it, is left as it is.
    """
    os.nice(_NICE)
    if _has_terminal():
        return
    with suppress(OSError):  # no Linux, or one without autogroups: niceness alone counts there
        _GROUP.write_text(str(_NICE))


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
