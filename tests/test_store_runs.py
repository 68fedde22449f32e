"""Runs, their events, requests for training under a clock that the test moves, and answers at the gate."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_scene import answered

from store import Store, StoreError
from store.errors import Conflict, NotFound
from store.records import Example, Role, RunStatus, Split, Verdict
from store.runs import GateAnswer, SideBySide, Tally


@pytest.fixture
def now() -> list[float]:
    """What the store's clock says."""
    return [1000.0]


@pytest.fixture
def bank(tmp_path: Path, now: list[float]) -> Iterator[Store]:
    with Store(tmp_path / "s.sqlite", clock=lambda: now[0]) as opened:
        opened.assistants.create("bank", "Bank", "exact")
        yield opened


def test_a_run_from_start_to_report(bank: Store, now: list[float]) -> None:
    run = bank.runs.start("bank", {"seed": 7, "variants": [0.1, 0.9]}, "schedule")
    dataset = bank.datasets.add("bank", bank.prompts.add("bank", []).id, "abc", [], {})
    bank.runs.update(run.id, dataset_id=dataset.id)
    bank.runs.update(run.id, adapter="bank-v0001")
    now[0] += 60
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


def test_events_are_in_order_and_keep_a_diverged_loss(bank: Store, now: list[float]) -> None:
    run = bank.runs.start("bank", {}, "test")
    bank.runs.add_event(run.id, "dataset", {"examples": 9})
    bank.runs.add_event(run.id, "train", {"step": 1, "loss": 2.5})
    now[0] += 2
    bank.runs.add_event(run.id, "train", {"step": 2, "loss": math.nan})

    assert [event.phase for event in bank.runs.events(run.id)] == ["dataset", "train", "train"]
    assert [event.data["step"] for event in bank.runs.events(run.id, phase="train")] == [1, 2]
    last = bank.runs.events(run.id)[-1]
    assert last.at == 1002.0 and math.isnan(last.data["loss"])
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


SCORES = {"base_full": [0.5, 0.9, 0.2, 0.4], "variant 2": [0.9, 0.3, 0.2, 0.5]}


@pytest.fixture
def gate(store: Store) -> Store:
    """A finished run over four gate examples, the last of them of another owner; a train example comes first."""
    store.assistants.create("bank", "Bank", "chrf")
    prompt = store.prompts.add("bank", [])
    owners = ["ann", "ann", "ann", "ann", "cat"]
    answers = [answered(store, f"question {n}", owner=owner) for n, owner in enumerate(owners)]
    examples = [
        Example(
            *(one.id, one.conversation_id, ((Role.USER, f"question {n}"),), f"right {n}", False),
            *(Split.GATE if n else Split.TRAIN, f"rater of {owners[n]}"),
        )
        for n, one in enumerate(answers)
    ]
    dataset = store.datasets.add("bank", prompt.id, "hash", examples, {})
    run = store.runs.start("bank", {}, "test")
    store.runs.update(run.id, dataset_id=dataset.id)
    given = [
        GateAnswer(position, examples[position].message_id, system, f"{system} {position}", score)
        for system, scores in SCORES.items()
        for position, score in enumerate(scores, 1)
    ]
    store.gate_answers.add(run.id, given)
    store.runs.finish(run.id, "refused", "", {})
    return store


def test_two_systems_are_compared_question_by_question(gate: Store) -> None:
    assert gate.gate_answers.tally(1, "variant 2", "base_full") == Tally(better=2, worse=1, asked=4)
    lost = gate.gate_answers.side_by_side(1, "variant 2", "base_full", 2)
    assert lost[0] == SideBySide("question 2", "right 2", "variant 2 2", 0.3, "base_full 2", 0.9)
    assert [pair.question for pair in lost] == ["question 2", "question 3"]
    won = gate.gate_answers.side_by_side(1, "variant 2", "base_full", 9, best_first=True)
    assert [pair.question for pair in won] == ["question 1", "question 4", "question 3", "question 2"]
    assert gate.gate_answers.tally(1, "variant 3", "base_full") == Tally(0, 0, 0)
    assert gate.gate_answers.side_by_side(2, "variant 2", "base_full", 5) == []


def test_all_are_kept_or_none(gate: Store) -> None:
    run = gate.runs.start("bank", {}, "test")
    gate.gate_answers.add(run.id, [GateAnswer(0, "deleted meanwhile", "base_full", "x", 0.5)])
    assert gate._file.connection().execute("SELECT count(*) FROM gate_answers").fetchone()[0] == 8


def test_an_answer_goes_with_its_conversation(gate: Store) -> None:
    talks = {talk.owner: talk.id for talk in gate.conversations.all("bank")}
    gate.conversations.delete(talks["cat"])
    assert gate.gate_answers.tally(1, "variant 2", "base_full").asked == 3


@pytest.mark.parametrize("person", ["cat", "rater of cat"])
def test_a_run_that_saw_an_erased_person_forgets_what_was_answered(gate: Store, person: str) -> None:
    """The candidate learned from the person, so any of its answers may be in the person's words."""
    if person != "cat":
        gate.ratings.add(answered(gate).id, person, Verdict.UP)
    gate.erasure.erase(person)
    assert gate.gate_answers.tally(1, "variant 2", "base_full") == Tally(0, 0, 0)
