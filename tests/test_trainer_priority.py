"""A training process stands behind chat, in whatever session it runs."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.watch import lower_priority

AUTOGROUP = Path("/proc/self/autogroup")


@pytest.mark.parametrize(
    ("group", "terminal", "written"),
    [("autogroup", False, True), ("autogroup", True, False), ("no-such-folder/autogroup", False, False)],
    ids=["its session is nicer too", "that of a terminal is left alone", "where sessions have no weights"],
)
def test_a_process_is_nicer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, group: str, terminal: bool, written: bool
) -> None:
    monkeypatch.setattr("trainer.watch._GROUP", tmp_path / group)
    monkeypatch.setattr("trainer.watch._has_terminal", lambda: terminal)
    [nice] = _said("import os; print(os.nice(0))")
    assert int(nice) == os.nice(0) + 10
    assert [path.read_text() for path in tmp_path.iterdir()] == ["5"] * written


def test_the_system_understands_what_is_written() -> None:
    """Where it weighs sessions at all, and then only the one of the process. A test run itself may be in none."""
    read = f"from pathlib import Path; p = Path('{AUTOGROUP}'); print(p.read_text() if p.exists() else '')"
    mine = AUTOGROUP.read_text() if AUTOGROUP.exists() else ""
    [usual] = _said(read, preexec_fn=None)
    [yielding] = _said(read)
    assert yielding.endswith("nice 5") == bool(usual)
    assert not usual.endswith("nice 5")
    assert (AUTOGROUP.read_text() if AUTOGROUP.exists() else "") == mine


def _said(code: str, preexec_fn: Callable[[], None] | None = lower_priority) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
        preexec_fn=preexec_fn,
    )
    return done.stdout.split("\n")[: code.count("print")]
