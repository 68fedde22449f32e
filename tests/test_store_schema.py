"""Opening older, newer and foreign files."""

import threading
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database, Migrations
from store_scene import at_once

from store import Store, StoreError, schema
from store.schema import migrations
from store.sqlite import sqlite3


def columns_of(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


def later(*tables: str) -> Migrations:
    """Those of a later version, which makes these tables."""
    made = Migrations("shorthand")
    made._migrations = list(migrations._migrations)

    @made()
    def v9_9_9(db: Database) -> None:
        for table in tables:
            db.execute(f"CREATE TABLE {table}")

    return made


def test_every_table_is_strict(store: Store) -> None:
    tables = {name: sql for name, sql in columns_of(store.path).items() if sql.startswith("CREATE TABLE")}
    loose = {name for name, sql in tables.items() if "STRICT" not in sql}
    not_ours = {"_sqlite_migrations", "sqlite_sequence"}
    assert {name for name in loose if "_words_" not in name} == not_ours  # nor are those that FTS5 makes


def test_another_programs_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        Store(path)
    assert path.read_bytes() == before


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.sqlite"
    Store(path).close()
    before = columns_of(path)
    monkeypatch.setattr(schema, "migrations", later("songs (title TEXT)", "ratings (in_the_way TEXT)"))
    with pytest.raises(StoreError, match="ratings"):
        Store(path)
    assert columns_of(path) == before


def test_before_an_older_file_is_changed_it_is_copied_beside_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.sqlite"
    Store(path).close()
    assert sorted(tmp_path.glob("*.sqlite")) == [path], "nothing is copied before there is anything"
    before, last = columns_of(path), migrations._migrations[-1].name
    with monkeypatch.context() as patch:
        patch.setattr(schema, "migrations", later("songs (title TEXT)"))
        Store(path).close()
        Store(path).close()
    [copy] = tmp_path.glob(f"s-{last}-*.sqlite")
    assert columns_of(copy) == before and columns_of(path).keys() - before.keys() == {"songs"}
    newer = path.read_bytes()
    with pytest.raises(StoreError, match=r"another version of Shorthand \(it has v9_9_9\)"):
        Store(path)
    assert path.read_bytes() == newer
    Store(copy).close()


def test_stores_that_open_a_new_file_at_once_create_it_once(tmp_path: Path) -> None:
    start = threading.Barrier(4)

    def open_it() -> None:
        start.wait()
        Store(tmp_path / "s.sqlite").close()

    at_once(*[open_it] * 4)
    with Store(tmp_path / "s.sqlite") as store:
        assert store.maintenance.check() == []
