"""The file under load and under bad luck: threads, processes, locks, a full disk."""

import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from file_faults import under_faults
from imported_turns import ImportedTurn, load_turns
from store_scene import at_once
from waiting import PATIENCE_S

from store import Store, StoreError
from store.errors import NotSaved
from store.records import Verdict
from store.sqlite import sqlite3

ANSWER = "c.1.assistant"
RATE_IN_ANOTHER_PROCESS = f"""
import sys
from store import Store
from store.records import Verdict
with Store(sys.argv[1]) as store:
    for _ in range(20):
        store.ratings.add({ANSWER!r}, sys.argv[2], Verdict.UP)
"""


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Store]:
    """A store that waits 50 ms for a lock, with one answer to rate."""
    with Store(tmp_path / "s.sqlite", busy_timeout_s=0.05) as opened:
        opened.assistants.create("bank", "Bank", "exact")
        load_turns(opened, "bank", [ImportedTurn("c", "q", "a")])
        yield opened


@pytest.fixture
def rated(bank: Store) -> Store:
    load_turns(bank, "bank", [ImportedTurn("c", "q", "a")])
    return bank


def test_threads_that_write_and_read_at_once_lose_nothing(rated: Store) -> None:
    def work(rater: str) -> None:
        for _ in range(20):
            rated.ratings.add(ANSWER, rater, Verdict.UP)
            rated.answers.rated("bank")

    at_once(*(partial(work, f"t{n}") for n in range(4)))
    assert len(rated.ratings.all(ANSWER)) == 80
    assert len(rated.ratings.latest([ANSWER])[ANSWER]) == 4


def test_processes_that_write_at_once_lose_nothing(rated: Store) -> None:
    command = [sys.executable, "-c", RATE_IN_ANOTHER_PROCESS, str(rated.path)]
    root = Path(__file__).parent.parent
    others = [subprocess.Popen([*command, f"p{n}"], cwd=root) for n in range(2)]
    for _ in range(20):
        rated.ratings.add(ANSWER, "here", Verdict.DOWN)
    assert [other.wait(PATIENCE_S) for other in others] == [0, 0]
    assert len(rated.ratings.all(ANSWER)) == 60 and rated.maintenance.check() == []


def test_a_locked_file_is_not_saved_and_can_be_tried_again(impatient: Store) -> None:
    with closing(sqlite3.connect(impatient.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotSaved, match="Another process kept the file locked"):
            impatient.ratings.add(ANSWER, "ann", Verdict.UP)
        assert impatient.ratings.all(ANSWER) == []  # reading goes on
    impatient.ratings.add(ANSWER, "ann", Verdict.UP)
    assert len(impatient.ratings.all(ANSWER)) == 1


def test_a_reader_that_never_ends_keeps_nobody_from_writing_or_closing(impatient: Store) -> None:
    with closing(sqlite3.connect(impatient.path, isolation_level=None)) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM ratings").fetchone() == (0,)
        impatient.ratings.add(ANSWER, "ann", Verdict.UP)
        impatient.conversations.delete(
            impatient.conversations.create("bank").id
        )  # empties the log where it can
        impatient.close()
        assert other.execute("SELECT count(*) FROM ratings").fetchone() == (0,)
    with Store(impatient.path) as again:
        assert len(again.ratings.all(ANSWER)) == 1


def test_a_full_disk_is_not_saved_and_leaves_the_store_whole(impatient: Store) -> None:
    connection = impatient._file.connection()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(NotSaved, match="The disk is full. Free some space and try again"):
        impatient.ratings.add(ANSWER, "ann", Verdict.UP, comment="x" * 100_000)
    connection.execute("PRAGMA max_page_count = 100000")
    assert impatient.maintenance.check() == [] and impatient.ratings.all(ANSWER) == []
    impatient.ratings.add(ANSWER, "ann", Verdict.UP, comment="x" * 100_000)


def test_a_read_only_file_is_not_saved_and_an_error_undoes_all_of_a_transaction(rated: Store) -> None:
    with pytest.raises(ZeroDivisionError), rated.writing():
        rated.ratings.add(ANSWER, "ann", Verdict.UP)
        raise ZeroDivisionError
    assert rated.ratings.all(ANSWER) == []
    rated._file.connection().execute("PRAGMA query_only = ON")
    with pytest.raises(NotSaved, match="read-only"):
        rated.ratings.add(ANSWER, "ann", Verdict.UP)


def test_the_file_and_its_log_are_private_and_synced(rated: Store) -> None:
    rated.ratings.add(ANSWER, "ann", Verdict.UP)
    names = {path.name for path in rated.path.parent.iterdir() if stat.S_IMODE(path.stat().st_mode) == 0o600}
    assert names == {rated.path.name + end for end in ("", "-wal", "-shm")}
    connection = rated._file.connection()
    pragmas = ("journal_mode", "synchronous", "foreign_keys")
    values = [connection.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in pragmas]
    assert values == ["wal", 2, 1]
    rated.close()
    assert [path.name for path in rated.path.parent.iterdir()] == [rated.path.name]


def test_a_file_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    note = tmp_path / "note.sqlite"
    note.write_text("Dear diary, " * 100)
    with pytest.raises(StoreError, match="damaged or no store"):
        Store(note)
    assert note.read_text().startswith("Dear diary")


def test_a_closed_store_says_so(rated: Store) -> None:
    rated.close()
    with pytest.raises(StoreError, match="is closed"):
        rated.assistants.all()


def test_a_missing_file_is_only_created_when_asked(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="There is no store at"):
        Store(tmp_path / "s.sqlite", create=False)
    assert list(tmp_path.iterdir()) == []
    Store(tmp_path / "new" / "s.sqlite").close()
    assert (tmp_path / "new" / "s.sqlite").exists()


def test_a_fault_at_any_call_to_the_system_loses_no_rating_and_damages_nothing(tmp_path: Path) -> None:
    """Every open, read, write, sync and truncation: no space, an I/O error, and a kill."""
    found = under_faults(tmp_path, "rate")
    assert list(found) == ["no space", "I/O error", "kill -9"]
    for name, of_it in found.items():
        assert of_it["calls"] > 60 and "fault" not in of_it and of_it["wrong"] == []
        assert of_it["killed" if name == "kill -9" else "refused"] > 60


def test_writers_of_one_process_wait_in_turn_and_ask_sqlite_once(
    rated: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_again = list[float]()
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=asked_again.append)
    monkeypatch.setattr("store.connection.time", clock)
    ready, go_on = threading.Barrier(6), threading.Event()

    def fail() -> None:
        with suppress(ValueError), rated.writing():
            ready.wait(PATIENCE_S)
            go_on.wait(PATIENCE_S)
            raise ValueError("Who fails gives the turn up, too.")

    def write(id: str) -> None:
        rated.assistants.all()  # opens this thread's connection
        ready.wait(PATIENCE_S)
        rated.assistants.create(id, "A", "exact")

    def let_go() -> None:
        ready.wait(PATIENCE_S)
        go_on.set()

    ids = [f"a{number}" for number in range(4)]
    at_once(fail, let_go, *(partial(write, id) for id in ids))
    assert {*ids} <= {one.id for one in rated.assistants.all()} and not asked_again
