"""What many threads save at the same moment goes to the disk as one, and each gets what is its own."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_for

from store import Store
from store.audit import acting
from store.errors import Conflict, NotSaved
from store.sqlite import sqlite3

Write = Callable[[], Any]


def called_at_once(store: Store, *calls: Callable[[], Any]) -> list[Future[Any]]:
    """Each saves something, and waits while this thread has the write lock."""
    with ThreadPoolExecutor(len(calls)) as pool:
        with store.writing():
            futures = [pool.submit(call) for call in calls]
            assert wait_for(lambda: len(store._group_commit._queued) == len(calls))
        return futures


def saved_at_once(store: Store, *writes: Write) -> list[Future[Any]]:
    return called_at_once(store, *(partial(store.group_commit, write) for write in writes))


def made(store: Store, name: str) -> Write:
    return lambda: store.assistants.create(name, name, "exact").id


def ids(store: Store) -> set[str]:
    return {one.id for one in store.assistants.all()}


def transactions(store: Store) -> int:
    """Those in the log: the last page of each says how large the file is then, the others 0."""
    log = store.path.with_name(f"{store.path.name}-wal").read_bytes()
    frames = range(32, len(log), 24 + int.from_bytes(log[8:12], "big"))
    return sum(log[at + 4 : at + 8] != bytes(4) for at in frames if log[at + 8 : at + 16] == log[16:24])


def test_threads_that_wait_share_one_transaction(store: Store) -> None:
    before, names = transactions(store), [f"a{n}" for n in range(8)]
    futures = saved_at_once(store, *(made(store, name) for name in names))
    assert [future.result() for future in futures] == names and ids(store) == set(names)
    assert transactions(store) - before == 1


def test_one_that_fails_takes_nothing_with_it(store: Store) -> None:
    def in_the_middle() -> None:
        store.assistants.create("half", "half", "exact")
        raise ValueError("no more")

    def breaks_a_rule() -> None:
        with store._file.writing() as transaction:
            transaction.execute("INSERT INTO conversations (id, assistant_id) VALUES ('c', 'nobody')")

    store.assistants.create("old", "old", "exact")
    failing = in_the_middle, breaks_a_rule, made(store, "old")
    futures = saved_at_once(store, made(store, "a"), *failing, made(store, "b"))
    assert [type(one.exception()) for one in futures[1:4]] == [ValueError, Conflict, Conflict]
    assert [futures[0].result(), futures[4].result()] == ["a", "b"]
    assert ids(store) == {"old", "a", "b"} and store.maintenance.check() == []


def test_what_cannot_be_saved_is_said_to_all(tmp_path: Path) -> None:
    with Store(tmp_path / "s.sqlite", busy_timeout_s=0.2) as store, ThreadPoolExecutor(4) as pool:
        with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            futures = [pool.submit(store.group_commit, made(store, f"a{n}")) for n in range(4)]
            assert {type(future.exception()) for future in futures} == {NotSaved}
        assert ids(store) == set()
        assert store.group_commit(made(store, "later")) == "later"


def test_where_the_disk_is_full_nothing_is_saved_and_all_are_told(store: Store) -> None:
    def large() -> None:
        with store._file.writing() as transaction:
            [(pages,)] = transaction.rows("PRAGMA page_count")
            transaction.rows(f"PRAGMA max_page_count = {pages + 8}")
        store.assistants.create("large", "x" * (1 << 20), "exact")

    futures = saved_at_once(store, made(store, "a"), large, made(store, "b"))  # SQLite undoes all of it
    assert {type(future.exception()) for future in futures} == {NotSaved} and ids(store) == set()
    assert store.group_commit(made(store, "a")) == "a"


def test_who_acts_is_not_mixed_up(store: Store) -> None:
    def ask(name: str) -> None:
        with acting(name):
            store.group_commit(made(store, f"a-{name}"))

    people = [f"p{n}" for n in range(6)]
    futures = called_at_once(store, *(partial(ask, name) for name in people))
    assert [future.result() for future in futures] == [None] * len(people)
    assert {(one.actor, one.subject) for one in store.audit.entries()} == {(p, f"a-{p}") for p in people}


def test_within_a_transaction_it_is_a_part_of_it(store: Store) -> None:
    with pytest.raises(ValueError, match="undone"), store.writing():
        assert store.group_commit(made(store, "a")) == "a"
        raise ValueError("undone")
    assert ids(store) == set()
