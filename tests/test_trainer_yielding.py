"""A training process stands behind chat, in whatever session it runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.yielding import yield_to_chat

SAY = "import os, pathlib; print(os.nice(0)); print(pathlib.Path('/proc/self/autogroup').read_text())"


def test_a_process_is_nicer_and_so_is_its_session() -> None:
    if not Path("/proc/self/autogroup").exists():
        pytest.skip("this system weighs processes alone")
    mine = Path("/proc/self/autogroup").read_text()
    nice, group = _said(SAY)
    assert int(nice) == os.nice(0) + 10
    assert group.endswith("nice 5")
    assert Path("/proc/self/autogroup").read_text() == mine  # only its own session


def test_the_session_of_a_terminal_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    group = tmp_path / "autogroup"
    monkeypatch.setattr("trainer.yielding._GROUP", group)
    monkeypatch.setattr("trainer.yielding._has_terminal", lambda: True)
    [nice] = _said("import os; print(os.nice(0))")
    assert int(nice) == os.nice(0) + 10
    assert not group.exists()


def test_a_system_without_session_weights_is_nice_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.yielding._GROUP", Path("/proc/self/no-such-file/autogroup"))
    [nice] = _said("import os; print(os.nice(0))")
    assert int(nice) == os.nice(0) + 10


def _said(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
        preexec_fn=yield_to_chat,
    )
    return done.stdout.split("\n")[: code.count("print")]
