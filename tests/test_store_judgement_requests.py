"""Answers that a person is asked about: kept once, decided, taken back, and forgotten with whom they came from."""

import pytest
from store_scene import answered

from store import Store
from store.errors import NotFound
from store.records import JudgementRequest, Role


def requested(store: Store, *texts: str) -> list[JudgementRequest]:
    """A run's requests about these answers to one question."""
    message = answered(store, "When do you open?", owner="ann").id
    run = store.runs.start("bank", {}, "test").id
    assert store.judgement_requests.add(run, [(message, text) for text in texts]) == len(texts)
    return store.judgement_requests.open("bank")


def test_a_request_is_open_until_somebody_decides_and_can_be_taken_back(bank: Store) -> None:
    first, second = requested(bank, "We open at nine.", "Nine.")
    assert (first.text, first.accepted) == ("We open at nine.", None)
    assert bank.messages.branch(first.message_id)[-2].text == "When do you open?"
    assert bank.judgement_requests.open("bank", 1) == [first]
    assert bank.judgement_requests.decided("bank") == []

    [decided] = bank.judgement_requests.choose([second.id], [second.id], "bo")
    assert decided.accepted is True and decided.decided_by == "bo" and decided.decided_at is not None
    bank.judgement_requests.choose([first.id], [], "bo")
    assert bank.judgement_requests.open("bank") == []
    assert [p.accepted for p in bank.judgement_requests.decided("bank")] == [False, True]

    bank.judgement_requests.choose([first.id], None, "bo")
    assert bank.judgement_requests.open("bank") == [first]
    with pytest.raises(NotFound, match="judgement request 99"):
        bank.judgement_requests.choose([99], [99], "bo")


def test_of_several_answers_some_are_right_at_once_or_nothing_is_decided(bank: Store) -> None:
    requests = requested(bank, "Nine.", "Noon.", "Never.")
    ids = [one.id for one in requests]
    with pytest.raises(NotFound, match="judgement request 99"):
        bank.judgement_requests.choose([*ids, 99], ids, "bo")
    assert bank.judgement_requests.decided("bank") == []

    decided = bank.judgement_requests.choose(ids, [ids[1]], "bo")
    assert [one.accepted for one in decided] == [False, True, False]
    assert len({one.decided_at for one in decided}) == 1
    assert bank.judgement_requests.of_message(requests[0].message_id) == decided
    written = [(entry.subject, entry.detail) for entry in bank.audit.entries(3)]
    assert sorted(written) == [(f"judgement request {id}", {"accepted": int(id == ids[1])}) for id in ids]
    bank.judgement_requests.choose(ids, None, "bo")
    assert bank.judgement_requests.open("bank") == requests


def test_nobody_is_asked_twice_about_the_same_answer(bank: Store) -> None:
    [one] = requested(bank, "Nine.")
    bank.judgement_requests.choose([one.id], [], "bo")
    later = bank.runs.start("bank", {}, "test").id
    assert bank.judgement_requests.add(later, [(one.message_id, "Nine."), ("deleted", "Nine.")]) == 0
    assert bank.judgement_requests.open("bank") == []
    with pytest.raises(NotFound, match="run 99"):
        bank.judgement_requests.add(99, [(one.message_id, "Ten.")])


def test_a_deleted_conversation_takes_its_requests_along(bank: Store) -> None:
    [one] = requested(bank, "Nine.")
    bank.conversations.delete(bank.messages.get(one.message_id).conversation_id)
    assert bank.judgement_requests.open("bank") == []


def test_an_erased_person_leaves_no_decision(bank: Store) -> None:
    """The owner's questions go with their requests; of one who decided, only the decision goes."""
    mine, theirs = answered(bank, owner="ann").id, answered(bank, owner="cat").id
    run = bank.runs.start("bank", {}, "test").id
    bank.judgement_requests.add(run, [(mine, "Nine."), (theirs, "Nine.")])
    bank.runs.finish(run, "refused", "", {})
    ids = [one.id for one in bank.judgement_requests.open("bank")]
    bank.judgement_requests.choose(ids, ids, "bo")
    talk = bank.conversations.create("bank", owner="bo")
    bank.messages.add(talk.id, None, Role.USER, "Hello")
    bank.erasure.erase("bo")
    assert [p.message_id for p in bank.judgement_requests.open("bank")] == [mine, theirs]
    bank.erasure.erase("ann")
    assert [p.message_id for p in bank.judgement_requests.open("bank")] == [theirs]
    assert all(p.decided_by == "" for p in bank.judgement_requests.open("bank"))
