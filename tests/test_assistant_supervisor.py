"""No process outlives what started it, and one that dies is started again, ever more patiently."""

import errno
import logging
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from waiting import PATIENCE_S, wait_for

from assistant import supervisor
from assistant.supervisor import RotatingLog, Supervisor

ROOT = Path(__file__).parent.parent
# Ignores SIGTERM, starts a grandchild that does too, writes both ids down.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) < 3:
    subprocess.Popen([sys.executable, sys.argv[0], sys.argv[1], "grandchild"])
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()}\\n")
time.sleep(120)
"""
# Stands in for the app: runs a supervisor and waits to be killed.
PARENT = """
import os, sys, time
from pathlib import Path
from assistant.supervisor import Supervisor
Supervisor([sys.executable, *sys.argv[1:3]], os.environ, Path(sys.argv[3])).start()
time.sleep(120)
"""
# Holds what vLLM holds: shared memory, and a socket in the directory for temporary files.
LITTERING = """
import signal, socket, sys, tempfile, time
from multiprocessing.shared_memory import SharedMemory
if sys.argv[2] == "asked":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
memory = SharedMemory(create=True, size=4096)
listener = socket.socket(socket.AF_UNIX)
listener.bind(tempfile.gettempdir() + "/socket")
with open(sys.argv[1], "w") as file:
    file.write(f"/dev/shm/{memory.name} {tempfile.gettempdir()}\\n")
time.sleep(120)
"""

# Each process that is asked to end starts another one first, two of them after the command's own.
FERTILE = """
import os, signal, subprocess, sys, time
generation = int(sys.argv[2])
def end(*_):
    if generation:
        child = subprocess.Popen([sys.executable, sys.argv[0], sys.argv[1], str(generation - 1)])
        while str(child.pid) not in open(sys.argv[1]).read().split():
            time.sleep(0.02)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()}\\n")
time.sleep(120)
"""


def is_alive(pid: int) -> bool:
    """A zombie is dead; whether somebody reaps it is up to the machine's first process."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_what_a_process_starts_while_it_is_ended_is_ended_too(tmp_path: Path) -> None:
    script, pids, scratch = tmp_path / "fertile.py", tmp_path / "pids", tmp_path / "scratch"
    script.write_text(FERTILE)
    words = ["-m", "assistant.supervisor", str(scratch), "5", sys.executable, str(script), str(pids), "2"]
    supervising = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdin=subprocess.PIPE)
    assert wait_for(lambda: pids.exists() and pids.read_text())
    supervising.communicate(timeout=PATIENCE_S)  # closes its input, as the end of the app does
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) >= 2 and not any(map(is_alive, started)) and not scratch.exists()


@pytest.fixture
def stubborn(tmp_path: Path) -> Path:
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN)
    return script


def test_trees_that_ignore_sigterm_are_gone_after_their_parent_was_killed_or_has_stopped_them(
    stubborn: Path, tmp_path: Path
) -> None:
    """Side by side, since each is given time to end by itself."""
    pids, others = tmp_path / "pids", tmp_path / "others"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(stubborn), str(pids), str(tmp_path / "log")], cwd=ROOT
    )
    process = Supervisor([sys.executable, str(stubborn), str(others)], os.environ, tmp_path / "logs" / "log")
    process.start()
    tree: list[psutil.Process] = []
    try:
        for file in (pids, others):
            assert wait_for(lambda file=file: file.exists() and len(file.read_text().split()) == 2)
        tree = psutil.Process(parent.pid).children(recursive=True)
        assert {int(pid) for pid in pids.read_text().split()} <= {process.pid for process in tree}
        assert len(tree) == 3  # supervising process, child, grandchild
        parent.kill()
        parent.wait(PATIENCE_S)
        process.stop()
        assert not [pid for pid in others.read_text().split() if is_alive(int(pid))], "before it returns"
        assert not psutil.wait_procs(tree, timeout=PATIENCE_S)[1]
    finally:
        process.stop()
        for one in [*tree, parent]:
            if isinstance(one, subprocess.Popen) or one.is_running():
                one.kill()
        parent.wait(PATIENCE_S)


@pytest.mark.parametrize("end", ["asked", "killed", "supervising process killed"])
def test_what_a_process_shared_or_put_aside_goes_with_it(tmp_path: Path, end: str) -> None:
    names, again = tmp_path / "names", threading.Event()
    process = Supervisor(
        [sys.executable, "-c", LITTERING, str(names), end],
        os.environ,
        tmp_path / "log",
        on_exit=lambda status, pause: again.set(),
    )
    process.start()
    try:
        assert wait_for(lambda: names.exists() and names.read_text().endswith("\n"))
        litter = [Path(name) for name in names.read_text().split()]
        assert all(path.exists() for path in litter) and (litter[1] / "socket").exists()
        parent = next(p for p in psutil.Process().children() if "assistant.supervisor" in p.cmdline())
        if end != "asked":
            (parent if end == "supervising process killed" else parent.children()[0]).kill()
            assert again.wait(PATIENCE_S)
    finally:
        process.stop()
    assert not [path for path in litter if path.exists()]


def ends_of(
    times: int,
    script: str,
    log: Path,
    scratch: Path | None = None,
    on_end: Callable[[], object] = lambda: None,
) -> tuple[list[str], list[tuple[int, float | None]]]:
    """Run Python code until it has ended so often; gives its lines, and the status and pause of each end."""
    lines, ends, enough = list[str](), list[tuple[int, float | None]](), threading.Event()

    def ended(status: int, pause_s: float | None) -> None:
        on_end()
        ends.append((status, pause_s))
        if len(ends) == times:
            enough.set()

    command = [sys.executable, "-c", script]
    process = Supervisor(command, os.environ, log, scratch, on_line=lines.append, on_exit=ended)
    process.start()
    assert enough.wait(PATIENCE_S)
    process.stop()
    return lines, ends[:times]


def test_a_process_that_dies_is_started_again_with_a_growing_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_S", 0.1)
    log = tmp_path / "logs" / "it.log"
    lines, ends = ends_of(3, "print('hello'); raise SystemExit(3)", log)
    assert ends == [(3, 0.05), (3, 0.1), (3, 0.1)]
    assert lines[:2] == ["hello", "hello"] and log.read_text().startswith("hello\nhello\n")


@pytest.mark.parametrize(("never_well", "lives"), [(True, 5), (False, 20)])
def test_a_process_that_dies_at_once_again_and_again_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, never_well: bool, lives: int
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.0)
    pauses: list[float | None] = []
    process = Supervisor(
        ["/no/such/command"], os.environ, tmp_path / "log", on_exit=lambda _, s: pauses.append(s)
    )
    monkeypatch.setattr(process, "_run_once", lambda: 1)
    if never_well:
        process._on_start = lambda: setattr(process, "well_since", math.inf)
    process.start()
    process._thread.join(PATIENCE_S)
    assert pauses == [0.0] * (lives - 1) + [None] and not process._thread.is_alive()


def test_a_log_that_has_grown_long_is_put_aside_and_is_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_LOG_BYTES", 20)
    path = tmp_path / "logs" / "it.log"
    log = RotatingLog(path)
    for number in range(9):
        log.emit(logging.makeLogRecord({"msg": f"line {number}"}))
    log.close()
    assert path.read_text() == "line 8\n" and (path.with_name("it.log.1")).read_text() == "line 6\nline 7\n"
    assert path.stat().st_mode & 0o777 == 0o600 and len(list(path.parent.iterdir())) == 2


def test_what_ends_no_line_is_logged_while_the_process_runs_and_all_logs_stay_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_LOG_BYTES", 1 << 18)
    monkeypatch.setattr(supervisor, "_LINE_BYTES", 1 << 12)
    script = "import sys; [sys.stdout.write('0123456789abcde\\r') for _ in range(10**5)]"
    lines, _ = ends_of(1, script, tmp_path / "it.log")
    assert max(map(len, lines)) <= 1 << 12 and sum(map(len, lines)) > 10**6
    assert sum(path.stat().st_size for path in tmp_path.glob("it.log*")) <= 2 * (1 << 18)


def test_a_process_goes_on_while_the_disk_of_its_log_is_full(tmp_path: Path) -> None:
    """Of more than the 64 KiB that a pipe holds; a log that nobody could write used to stop vLLM there."""
    (tmp_path / "it.log").symlink_to("/dev/full")
    lines, _ = ends_of(1, "for n in range(4000): print(n, 60 * '.')", tmp_path / "it.log")
    assert len(lines) >= 4000 and lines[3999].startswith("3999 ")


def test_a_log_that_cannot_be_opened_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = RotatingLog(tmp_path / "file" / "it.log")
    log.emit(logging.makeLogRecord({"msg": "one"}))
    log.close()


def test_nobody_else_may_enter_the_directory_of_a_process(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    script = f"import os, tempfile; print(tempfile.gettempdir(), oct(os.stat('{scratch}').st_mode))"
    lines, _ = ends_of(1, script, tmp_path / "log", scratch)
    assert lines[0] == f"{scratch} 0o40700" and not scratch.exists()


def test_the_directory_of_a_process_is_made_by_who_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made by the app, it stayed where the app was killed between that and the start of the process."""
    scratch, there = tmp_path / "scratch", []
    start: Any = subprocess.Popen

    def watched(*words: Any, **options: Any) -> Any:
        there.append(scratch.exists())
        return start(*words, **options)

    monkeypatch.setattr(subprocess, "Popen", watched)
    lines, _ = ends_of(1, f"import os; print(os.path.isdir('{scratch}'))", tmp_path / "log", scratch)
    assert there == [False] and lines[0] == "True" and not scratch.exists()


def test_one_that_cannot_be_started_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.05)
    folder = tmp_path / "folder"

    def make_room() -> None:
        folder.mkdir(exist_ok=True)

    lines, ends = ends_of(2, "print('hello')", tmp_path / "it.log", folder / "scratch", make_room)
    assert [status for status, _ in ends] == [errno.ENOENT, 0]
    assert lines[0].startswith("It could not be started") and lines[1] == "hello"
