"""The most memory that this process has used since a moment, in MiB. Linux alone tells.

In: /proc/self. Out: a number. Does not know what was done meanwhile.
"""

from __future__ import annotations

from pathlib import Path

_SELF = Path("/proc/self")
_RESET_PEAK = "5"  # proc(5), clear_refs: the peak becomes what is used now


def forget_peak() -> None:
    """From here on."""
    (_SELF / "clear_refs").write_text(_RESET_PEAK)


def peak_mib() -> int:
    """Resident memory at its peak."""
    line = next(line for line in (_SELF / "status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024
