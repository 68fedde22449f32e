"""Backup, check, stats, and the commands that show them."""

import itertools
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest
from imported_turns import ImportedTurn, load_turns
from store_scene import run_store
from waiting import wait_for

from store import Store
from store.errors import Conflict, NotSaved
from store.maintenance import backup_file
from store.records import Verdict
from store.sqlite import sqlite3


@pytest.fixture
def bank(bank: Store) -> Store:
    load_turns(bank, "bank", [ImportedTurn("c", "q", "a", Verdict.UP)])
    return bank


def test_a_backup_is_a_whole_private_store_and_never_overwrites(bank: Store, tmp_path: Path) -> None:
    copy = backup_file(bank._file, tmp_path / "copy.sqlite")
    bank.conversations.delete("c")
    with Store(copy, create=False) as saved:
        assert len(saved.answers.rated("bank")) == 1 and saved.maintenance.check() == []
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with pytest.raises(Conflict, match="exists already"):
        backup_file(bank._file, copy)
    with pytest.raises(NotSaved, match="no folder"):
        backup_file(bank._file, tmp_path / "nowhere" / "copy.sqlite")
    assert sorted(path.name for path in tmp_path.glob("*copy*")) == ["copy.sqlite"]


def test_a_backup_while_another_process_writes_is_what_was_committed(bank: Store, tmp_path: Path) -> None:
    with closing(sqlite3.connect(bank.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM ratings")
        copy = backup_file(bank._file, tmp_path / "copy.sqlite")
        other.execute("COMMIT")
    with Store(copy) as saved:
        assert saved.maintenance.stats()["ratings"] == 1
    assert bank.maintenance.stats()["ratings"] == 0


def test_people_save_while_the_store_is_copied_and_the_copy_is_of_one_moment(
    store: Store, tmp_path: Path
) -> None:
    store.assistants.create("bank", "Bank", "exact")
    for id in ("first", "last"):
        store.conversations.create("bank", id=id)
        load_turns(store, "bank", [ImportedTurn(f"{id} {n}", "q" * 5000, "a" * 5000) for n in range(500)])
    over, saved = threading.Event(), []

    def write() -> None:
        with Store(store.path) as another:
            for number in itertools.count():
                with another._file.writing():  # both or none
                    another.conversations.rename("first", str(number))
                    another.conversations.rename("last", str(number))
                saved.append(number)
                if over.is_set():
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert wait_for(lambda: saved)
        before = len(saved)
        copy = backup_file(store._file, tmp_path / "copy.sqlite")
        assert store.maintenance.check() == []
        during = len(saved) - before
    finally:
        over.set()
        writer.join()
    with Store(copy) as copied:
        assert copied.conversations.get("first").title == copied.conversations.get("last").title
        assert copied.maintenance.check() == []
    assert during and not [*tmp_path.glob(".*")]


DAMAGE = {
    "rating of message 'c.1.user', which is no answer": "UPDATE ratings SET message_id = 'c.1.user'",
    "conversations row 1 points to a missing row of messages": "UPDATE conversations SET head_id = 'gone'",
    "conversation 'c' has 2 messages but shows none": "UPDATE conversations SET head_id = NULL",
    "points to a missing row of assistants": "DELETE FROM assistants",
    "message 'c.1.user' was not written after its parent": """
        UPDATE messages SET parent_id = 'c.1.assistant' WHERE id = 'c.1.user'""",
    "deployment 1 names adapter 'lost'": """
        INSERT INTO deployments (id, assistant_id, prompt_id, adapter, segment_ids, variant, prompt_tokens, status,
            created_at)
        VALUES (1, 'bank', 1, 'lost', '[]', 0, 0, 'active', 1.0)""",
}


@pytest.mark.parametrize("problem", DAMAGE)
def test_check_names_what_is_wrong(bank: Store, problem: str) -> None:
    assert bank.maintenance.check() == []
    with closing(sqlite3.connect(bank.path, isolation_level=None)) as vandal:
        vandal.executescript(DAMAGE[problem])
    assert any(problem in found for found in bank.maintenance.check())


def test_the_command_shows_checks_and_saves(bank: Store, tmp_path: Path) -> None:
    def run(*words: object) -> tuple[int, str]:
        return run_store(*words, "--data-dir", tmp_path)

    code, output = run("stats")
    assert code == 0 and "ratings" in output
    code, output = run("check")
    assert code == 0 and "is sound" in output
    code, output = run("backup", tmp_path / "copy.sqlite")
    assert code == 0 and (tmp_path / "copy.sqlite").exists()
    code, output = run("backup", tmp_path / "copy.sqlite")
    assert code == 2 and "exists already" in output

    with closing(sqlite3.connect(bank.path, isolation_level=None)) as vandal:
        vandal.execute("UPDATE conversations SET head_id = NULL")
    code, output = run("check")
    assert code == 1 and "shows none" in output and "restore a backup" in output


@pytest.mark.parametrize("command", [["stats"], ["check"], ["backup", "copy.sqlite"]], ids=lambda c: c[0])
def test_the_command_never_creates_a_store_and_explains_itself(tmp_path: Path, command: list[str]) -> None:
    code, output = run_store(*command, "--data-dir", tmp_path)
    assert code == 2 and "There is no store at" in output and list(tmp_path.iterdir()) == []
    code, output = run_store(command[0], "--help")
    assert code == 0 and "Example: python -m store" in output
