"""Answers that a person is asked about: kept once, decided, taken back, and forgotten with whom they came from."""

import pytest

from store import Store
from store.errors import NotFound
from store.proposals import DECIDED, OPEN
from store.records import MessageStatus, Role


@pytest.fixture
def bank(store: Store) -> Store:
    store.create_assistant("bank", "Bank", "chrf")
    store.add_prompt("bank", [])
    return store


def answered(store: Store, owner: str = "ann") -> str:
    talk = store.create_conversation("bank", owner=owner)
    asked = store.add_message(talk.id, None, Role.USER, "When do you open?")
    return store.add_message(talk.id, asked.id, Role.ASSISTANT, "At nine.", MessageStatus.COMPLETE).id


def test_a_proposal_is_open_until_somebody_decides_and_can_be_taken_back(bank: Store) -> None:
    message, run = answered(bank), bank.start_run("bank", {}, "test").id
    assert bank.propose(run, [(message, "We open at nine."), (message, "Nine.")]) == 2
    first, second = bank.open_proposals("bank")
    assert (first.message_id, first.text, first.accepted) == (message, "We open at nine.", None)
    assert bank.branch(first.message_id)[-2].text == "When do you open?"
    assert bank.open_proposals("bank", 1) == [first] and bank.decided_proposals("bank") == []

    decided = bank.decide_proposal(second.id, True, "bo")
    assert decided.accepted is True and decided.decided_by == "bo" and decided.decided_at is not None
    bank.decide_proposal(first.id, False, "bo")
    assert bank.open_proposals("bank") == []
    assert [p.accepted for p in bank.decided_proposals("bank")] == [False, True]

    bank.decide_proposal(first.id, None, "bo")
    assert bank.open_proposals("bank") == [first]
    with pytest.raises(NotFound, match="proposal 99"):
        bank.decide_proposal(99, True, "bo")


def test_nobody_is_asked_twice_about_the_same_answer(bank: Store) -> None:
    message, run = answered(bank), bank.start_run("bank", {}, "test").id
    bank.propose(run, [(message, "Nine.")])
    bank.decide_proposal(bank.open_proposals("bank")[0].id, False, "bo")
    later = bank.start_run("bank", {}, "test").id
    assert bank.propose(later, [(message, "Nine."), ("deleted", "Nine.")]) == 0
    assert bank.open_proposals("bank") == []
    with pytest.raises(NotFound, match="run 99"):
        bank.propose(99, [(message, "Ten.")])


def test_a_deleted_conversation_takes_its_proposals_along(bank: Store) -> None:
    message, run = answered(bank), bank.start_run("bank", {}, "test").id
    bank.propose(run, [(message, "Nine.")])
    bank.delete_conversation(bank.message(message).conversation_id)
    assert bank.open_proposals("bank") == []


def test_an_erased_person_leaves_no_decision(bank: Store) -> None:
    """The owner's questions go with their proposals; of one who decided, only the decision goes."""
    mine, theirs = answered(bank, "ann"), answered(bank, "cat")
    run = bank.start_run("bank", {}, "test").id
    bank.propose(run, [(mine, "Nine."), (theirs, "Nine.")])
    bank.finish_run(run, "refused", "", {})
    for proposal in bank.open_proposals("bank"):
        bank.decide_proposal(proposal.id, True, "bo")
    talk = bank.create_conversation("bank", owner="bo")
    bank.add_message(talk.id, None, Role.USER, "Hello")
    bank.erase("bo")
    assert [p.message_id for p in bank.open_proposals("bank")] == [mine, theirs]
    bank.erase("ann")
    assert [p.message_id for p in bank.open_proposals("bank")] == [theirs]
    assert all(p.decided_by == "" for p in bank.open_proposals("bank"))


@pytest.mark.parametrize("query", [OPEN, DECIDED])
def test_proposals_are_found_by_index(bank: Store, query: str) -> None:
    values = ["bank", 10] if query == OPEN else ["bank"]
    with bank._file.reading() as transaction:
        plan = [row["detail"] for row in transaction.rows(f"EXPLAIN QUERY PLAN {query}", values)]
    assert not [step for step in plan if step.startswith("SCAN")], plan
