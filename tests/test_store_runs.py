"""Runs, their events, requests for training, and leases, under a clock that the test moves."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import Store, StoreError
from store.errors import Conflict, NotFound
from store.records import RunStatus


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bank(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with Store(tmp_path / "s.sqlite", clock=clock) as opened:
        opened.assistants.create("bank", "Bank", "exact")
        yield opened


def test_a_run_from_start_to_report(bank: Store, clock: Clock) -> None:
    run = bank.runs.start("bank", {"seed": 7, "variants": [0.1, 0.9]}, "schedule")
    dataset = bank.datasets.add("bank", bank.prompts.add("bank", []).id, "abc", [], {})
    bank.runs.update(run.id, dataset_id=dataset.id)
    bank.runs.update(run.id, adapter="bank-v0001")
    clock.now += 60
    done = bank.runs.finish(run.id, RunStatus.REFUSED, "worse by 3 points", {"gate": {"passed": False}})

    assert bank.runs.get(run.id) == done
    assert (done.dataset_id, done.adapter) == (dataset.id, "bank-v0001")
    assert (done.started_at, done.finished_at, done.message) == (1000.0, 1060.0, "worse by 3 points")
    assert done.settings == {"seed": 7, "variants": [0.1, 0.9]} and done.report == {"gate": {"passed": False}}
    with pytest.raises(Conflict, match="a run ends once"):
        bank.runs.finish(run.id, RunStatus.PROMOTED, "", {})


def test_runs_are_newest_first_and_a_crash_is_noted(bank: Store) -> None:
    ids = [bank.runs.start("bank", {}, "test").id for _ in range(3)]
    bank.runs.finish(ids[0], RunStatus.PROMOTED, "", {})
    assert [run.id for run in bank.runs.all("bank", limit=2)] == [ids[2], ids[1]]

    assert bank.runs.interrupt_running("the process ended") == 2
    assert bank.runs.interrupt_running("again") == 0
    left = bank.runs.get(ids[1])
    assert (left.status, left.message) == (RunStatus.INTERRUPTED, "the process ended")
    assert bank.runs.get(ids[0]).status is RunStatus.PROMOTED


def test_an_interrupted_run_can_go_on_and_no_other(bank: Store) -> None:
    run = bank.runs.start("bank", {"epochs": 2}, "asked")
    with pytest.raises(Conflict, match="running and cannot go on"):
        bank.runs.resume(run.id)
    bank.runs.interrupt_running("killed")
    assert bank.runs.resume(run.id) == run
    bank.runs.finish(run.id, RunStatus.PROMOTED, "", {})
    with pytest.raises(Conflict, match="promoted and cannot go on"):
        bank.runs.resume(run.id)


def test_events_are_in_order_by_phase_and_time_and_keep_a_diverged_loss(bank: Store, clock: Clock) -> None:
    run = bank.runs.start("bank", {}, "test")
    bank.runs.add_event(run.id, "dataset", {"examples": 9})
    clock.now += 1
    bank.runs.add_event(run.id, "train", {"step": 1, "loss": 2.5})
    clock.now += 1
    bank.runs.add_event(run.id, "train", {"step": 2, "loss": math.nan})

    assert [event.phase for event in bank.runs.events(run.id)] == ["dataset", "train", "train"]
    assert [event.data["step"] for event in bank.runs.events(run.id, phase="train")] == [1, 2]
    (last,) = bank.runs.events(run.id, after=1001.0)
    assert last.at == 1002.0 and math.isnan(last.data["loss"])
    with pytest.raises(NotFound, match="run 8"):
        bank.runs.add_event(8, "train", {})
    with pytest.raises(StoreError, match="as JSON"):
        bank.runs.add_event(run.id, "train", {"tensor": object()})


def test_requests_are_taken_once_oldest_first_and_one_run_answers_all_of_an_assistant(bank: Store) -> None:
    assert bank.runs.take_request() is None
    bank.assistants.create("cafe", "Cafe", "exact")
    for name, trigger in (("bank", "button"), ("cafe", "button"), ("bank", "schedule"), ("bank", "button")):
        bank.runs.request(name, trigger)
    assert bank.runs.take_request() == ("bank", "button, schedule")
    assert bank.runs.take_request() == ("cafe", "button")
    assert bank.runs.take_request() is None
    with pytest.raises(NotFound, match="assistant 'shop'"):
        bank.runs.request("shop", "button")


def test_a_lease_is_held_renewed_released_and_expires(bank: Store, clock: Clock) -> None:
    assert bank.leases.acquire("trainer", "p1", ttl_s=30)
    assert not bank.leases.acquire("trainer", "p2", ttl_s=30)
    clock.now += 20
    assert bank.leases.acquire("trainer", "p1", ttl_s=30)  # renewed until 1050
    clock.now += 29
    assert not bank.leases.acquire("trainer", "p2", ttl_s=30)
    assert bank.leases.get("trainer") == ("p1", 1050.0)
    clock.now += 1
    assert bank.leases.get("trainer") is None
    assert bank.leases.acquire("trainer", "p2", ttl_s=30)

    bank.leases.release("trainer", "p1")  # too late: it is p2's now
    assert bank.leases.get("trainer") == ("p2", 1080.0)
    bank.leases.release("trainer", "p2")
    assert bank.leases.get("trainer") is None
    with pytest.raises(StoreError, match="longer than 0 s"):
        bank.leases.acquire("trainer", "p1", ttl_s=0)
