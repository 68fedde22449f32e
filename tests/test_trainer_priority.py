"""A training process stands behind chat, in whatever session it runs."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.watch import lower_priority

AUTOGROUP = Path("/proc/self/autogroup")


def test_a_process_is_nicer_and_so_is_its_session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    group = tmp_path / "autogroup"
    monkeypatch.setattr("trainer.watch._GROUP", group)
    monkeypatch.setattr("trainer.watch._has_terminal", lambda: False)
    [nice] = _said("import os; print(os.nice(0))")
    assert int(nice) == os.nice(0) + 10
    assert group.read_text() == "5"


def test_the_system_understands_what_is_written() -> None:
    """Where it weighs sessions at all, and then only the one of the process. A test run itself may be in none."""
    read = f"from pathlib import Path; p = Path('{AUTOGROUP}'); print(p.read_text() if p.exists() else '')"
    mine = AUTOGROUP.read_text() if AUTOGROUP.exists() else ""
    [usual] = _said(read, preexec_fn=None)
    [yielding] = _said(read)
    assert yielding.endswith("nice 5") == bool(usual)
    assert not usual.endswith("nice 5")
    assert (AUTOGROUP.read_text() if AUTOGROUP.exists() else "") == mine


def test_the_session_of_a_terminal_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    group = tmp_path / "autogroup"
    monkeypatch.setattr("trainer.watch._GROUP", group)
    monkeypatch.setattr("trainer.watch._has_terminal", lambda: True)
    [nice] = _said("import os; print(os.nice(0))")
    assert int(nice) == os.nice(0) + 10
    assert not group.exists()


def test_a_system_without_session_weights_is_nice_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.watch._GROUP", Path("/proc/self/no-such-file/autogroup"))
    [nice] = _said("import os; print(os.nice(0))")
    assert int(nice) == os.nice(0) + 10


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
