"""Opening older, newer and foreign files."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from store import Store, StoreError
from store.migrations import migrations
from store.records import Example, ImportedTurn, Role, Split, Verdict


def columns_of(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


def test_an_older_file_is_upgraded_with_its_data(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrations.apply(Database(connection), stop_before="m006_ratings")
        connection.execute("INSERT INTO assistants VALUES ('bank', 'Bank', 'exact', '[]', 1.0)")

    with Store(path) as store:
        assert store.assistants.get("bank").name == "Bank"
        store.samples.load("bank", [ImportedTurn("c", "q", "a", Verdict.UP)])
        assert len(store.answers.rated("bank")) == 1 and store.maintenance.check() == []
    Store(tmp_path / "fresh.sqlite").close()
    assert columns_of(path) == columns_of(tmp_path / "fresh.sqlite")


def test_a_dataset_from_before_rejected_answers_were_recorded_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrations.apply(Database(connection), stop_before="m011_rejected_answers")
        connection.execute("INSERT INTO assistants VALUES ('bank', 'Bank', 'exact', '[]', 1.0)")
        connection.execute("INSERT INTO prompts VALUES (1, 'bank', 1, '[]', 1.0)")
        connection.execute("INSERT INTO datasets VALUES (1, 'bank', 1, 'abc', '{}', 1.0)")
        connection.execute("""
            INSERT INTO dataset_examples
                (dataset_id, position, message_id, conversation_id, context, completion, corrected, split, rater)
            VALUES (1, 0, 'm', 'c', '[["user", "q"]]', 'yes', 1, 'train', 'ann')""")
    with Store(path) as store:
        (example,) = store.datasets.get(1).examples
        assert example == Example("m", "c", ((Role.USER, "q"),), "yes", True, Split.TRAIN, "ann")


def test_rated_answers_of_an_older_file_are_known(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        migrations.apply(Database(old), stop_before="m013_newest_first")
        old.execute("INSERT INTO assistants VALUES ('bank', 'Bank', 'exact', '[]', 1.0)")
        old.execute("INSERT INTO conversations VALUES ('c', 'bank', 'C', 'ann', 'chat', 1, 1, NULL)")
        message = (
            "INSERT INTO messages (id, conversation_id, parent_id, role, text, created_at, status) VALUES "
        )
        old.execute(f"{message} ('q', 'c', NULL, 'user', 'q', 1, 'complete')")
        for id in ("a", "b"):
            old.execute(f"{message} ('{id}', 'c', 'q', 'assistant', '{id}', 1, 'complete')")
        for seq, id in enumerate(("b", "a", "b")):
            old.execute(f"INSERT INTO ratings VALUES ({seq}, 'r{seq}', '{id}', 'ann', 'up', '', '', NULL, 1)")
    with Store(path) as store:
        assert store.answers.rated_count("bank") == 2
        assert [answer.message_id for answer in store.answers.rated("bank", 1)] == ["b"]


def test_every_table_is_strict(store: Store) -> None:
    tables = {name: sql for name, sql in columns_of(store.path).items() if sql.startswith("CREATE TABLE")}
    loose = {name for name, sql in tables.items() if "STRICT" not in sql}
    not_ours = {"_sqlite_migrations", "sqlite_sequence"}
    assert {name for name in loose if "_words_" not in name} == not_ours  # nor are those that FTS5 makes


def test_a_newer_file_is_refused_and_left_alone(store: Store) -> None:
    store.close()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO _sqlite_migrations VALUES (99, 'shorthand', 'm099_future', 'now')")
    before = store.path.read_bytes()
    with pytest.raises(StoreError, match=r"newer Shorthand \(it has m099_future\)"):
        Store(store.path)
    assert store.path.read_bytes() == before


def test_another_programs_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        Store(path)
    assert path.read_bytes() == before


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrations.apply(Database(connection), stop_before="m006_ratings")
        connection.execute("CREATE TABLE leases (in_the_way TEXT)")
    before = columns_of(path)
    with pytest.raises(StoreError, match="leases"):
        Store(path)
    assert columns_of(path) == before


def test_stores_that_open_a_new_file_at_once_create_it_once(tmp_path: Path) -> None:
    start, errors = threading.Barrier(4), []

    def open_it() -> None:
        start.wait()
        try:
            Store(tmp_path / "s.sqlite").close()
        except StoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with Store(tmp_path / "s.sqlite") as store:
        assert store.maintenance.check() == []
