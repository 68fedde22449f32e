"""What the app starts stands behind it, and a training process behind chat, in whatever session it runs."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import PATIENCE_S

from assistant.supervisor import Supervisor, lower_priority
from trainer.watch import stand_behind

AUTOGROUP = Path("/proc/self/autogroup")


@pytest.mark.parametrize(
    ("group", "terminal", "written"),
    [("autogroup", False, True), ("autogroup", True, False), ("no-such-folder/autogroup", False, False)],
    ids=["its session is nicer too", "that of a terminal is left alone", "where sessions have no weights"],
)
def test_a_process_is_nicer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, group: str, terminal: bool, written: bool
) -> None:
    monkeypatch.setattr("assistant.supervisor._SESSION", tmp_path / group)
    monkeypatch.setattr("trainer.watch._has_terminal", lambda: terminal)
    [nice] = _said("import os; print(os.nice(0))")
    assert int(nice) == min(19, os.nice(0) + 5)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["10"] * written


def test_the_system_understands_what_is_written() -> None:
    """Where it weighs sessions at all, and then only the one of the process. A test run itself may be in none."""
    read = f"from pathlib import Path; p = Path('{AUTOGROUP}'); print(p.read_text() if p.exists() else '')"
    mine = AUTOGROUP.read_text() if AUTOGROUP.exists() else ""
    [usual] = _said(read, preexec_fn=None)
    [yielding] = _said(read)
    assert yielding.endswith("nice 10") == bool(usual)
    assert not usual.endswith("nice 10")
    assert (AUTOGROUP.read_text() if AUTOGROUP.exists() else "") == mine


def _said(code: str, preexec_fn: Callable[[], None] | None = stand_behind) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
        preexec_fn=preexec_fn,
    )
    return done.stdout.split("\n")[: code.count("print")]


def test_a_supervised_process_stands_behind_the_app(tmp_path: Path) -> None:
    """What it starts too, training among it, so that training is still a step below."""
    lines, ended = list[str](), threading.Event()
    found = f"(lambda p: p.read_text() if p.exists() else '')(Path('{AUTOGROUP}'))"
    read = f"import os; from pathlib import Path; print(os.nice(0)); print({found})"
    process = Supervisor(
        [sys.executable, "-c", read],
        os.environ,
        tmp_path / "log",
        on_line=lines.append,
        on_exit=lambda *_: ended.set(),
    )
    process.start()
    assert ended.wait(PATIENCE_S)
    process.stop()
    _, usual = _said(read, preexec_fn=None)
    assert int(lines[0]) == min(19, os.nice(0) + 5) and lines[1].endswith("nice 5") == bool(usual)


def test_a_system_that_takes_no_change_at_the_moment_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux takes one in 100 ms; several processes start at once."""
    answers: list[OSError | None] = [BlockingIOError(), BlockingIOError(), None]
    asked: list[str] = []

    class Session:
        def write_text(self, text: str) -> None:
            asked.append(text)
            if error := answers[len(asked) - 1]:
                raise error

    monkeypatch.setattr("assistant.supervisor._SESSION", Session())
    lower_priority(0, 5)
    assert asked == ["5", "5", "5"]
