"""Decisions: the latest of each reviewer counts, undoing brings back what was before; and judgement requests."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from imported_turns import ImportedTurn, load_turns
from store_scene import answered

from store import Store
from store.errors import Conflict, NotFound
from store.records import JudgementRequest, Role, Ruling, Verdict

A1, A2 = "c1.1.assistant", "c2.1.assistant"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Store]:
    """Two conversations of one turn each, on a clock that ticks at each look; the second answer is rated up."""
    with Store(tmp_path / "s.sqlite", clock=itertools.count(1.0).__next__) as store:
        store.assistants.create("desk", "Desk", "exact")
        turns = [ImportedTurn("c1", "q1", "a1"), ImportedTurn("c2", "q2", "a2", Verdict.UP, rater="ann")]
        load_turns(store, "desk", turns)
        yield store


def test_history_is_kept_and_the_latest_of_each_reviewer_counts(desk: Store) -> None:
    first = desk.decisions.add(A1, "ann", Ruling.REJECT)
    second = desk.decisions.add(A1, "ann", Ruling.CORRECT, "better")
    assert desk.decisions.all(A1) == [first, second]
    assert desk.decisions.effective([A1, A1, A2]) == {A1: second}
    bos = desk.decisions.add(A1, "bo", Ruling.REJECT)
    assert desk.decisions.effective([A1]) == {A1: bos}, "of several reviewers the one who decided last"
    desk.decisions.undo([bos.id])
    assert desk.decisions.effective([A1]) == {A1: second}


def test_only_answers_that_exist_are_decided_on_and_all_or_none_of_them(desk: Store) -> None:
    with pytest.raises(Conflict, match="only answers"):
        desk.decisions.add("c1.1.user", "ann", Ruling.APPROVE)
    with pytest.raises(NotFound, match="message 'x'"):
        desk.decisions.add_all("ann", Ruling.REJECT, {A1: None, "x": None})
    with pytest.raises(Conflict, match="has no text"):
        desk.decisions.add(A1, "ann", Ruling.CORRECT)
    with pytest.raises(Conflict, match="takes no text"):
        desk.decisions.add(A1, "ann", Ruling.REJECT, "text")
    assert desk.decisions.all(A1) == []


def test_undoing_many_restores_what_each_had_before(desk: Store) -> None:
    approved = desk.decisions.add(A1, "ann", Ruling.APPROVE)
    bulk = desk.decisions.add_all("ann", Ruling.REJECT, {A1: None, A2: None})
    assert {d.ruling for d in desk.decisions.effective([A1, A2]).values()} == {Ruling.REJECT}

    assert desk.decisions.undo(decision.id for decision in bulk) == bulk
    assert desk.decisions.effective([A1, A2]) == {A1: approved}
    assert desk.decisions.all(A1) == [approved] and desk.decisions.all(A2) == []


def test_undoing_leaves_alone_what_was_decided_anew_and_happens_once(desk: Store) -> None:
    old = desk.decisions.add(A1, "ann", Ruling.REJECT)
    new = desk.decisions.add(A1, "ann", Ruling.APPROVE)
    assert desk.decisions.undo([old.id]) == [] and desk.decisions.effective([A1]) == {A1: new}
    assert desk.decisions.undo([new.id]) == [new] and desk.decisions.undo([new.id]) == []
    assert desk.decisions.effective([A1])[A1].ruling is Ruling.REJECT
    desk.conversations.delete("c1")
    assert desk.decisions.undo([old.id, new.id]) == [] and desk.maintenance.check() == []


def test_decided_answers_are_beside_the_newest_rated_ones_but_for_those_whom_nobody_hears(
    desk: Store,
) -> None:
    load_turns(desk, "desk", [ImportedTurn("c3", "q3", "a3", Verdict.UP, rater="ann")])
    decided = desk.decisions.add(A1, "rev", Ruling.APPROVE)
    answers = {answer.message_id: answer for answer in desk.answers.rated("desk")}
    assert answers[A1].decision == decided and answers[A1].ratings == ()
    assert answers[A1].context == ((Role.USER, "q1"),) and answers[A2].decision is None

    def found(*arguments: object) -> list[str]:
        return [answer.conversation_id for answer in desk.answers.rated("desk", *arguments)]

    assert sorted(found()) == ["c1", "c2", "c3"]
    assert sorted(found(1)) == ["c1", "c3"]
    assert sorted(found(None, ["rev"])) == ["c2", "c3"]
    assert sorted(found(None, ["ann"])) == ["c1"]


def test_how_many_were_decided_today(desk: Store) -> None:
    decision = desk.decisions.add(A1, "ann", Ruling.APPROVE)
    desk.decisions.add(A1, "ann", Ruling.REJECT)
    desk.decisions.add(A2, "bo", Ruling.REJECT)
    assert desk.decisions.count_since("desk", "ann", decision.created_at - 1) == 1
    assert desk.decisions.count_since("desk", "ann", decision.created_at + 3600) == 0
    assert desk.decisions.count_since("other", "ann", 0.0) == 0


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
    answered(bank, owner="bo")
    bank.erasure.erase("bo")
    assert [p.message_id for p in bank.judgement_requests.open("bank")] == [mine, theirs]
    bank.erasure.erase("ann")
    assert [p.message_id for p in bank.judgement_requests.open("bank")] == [theirs]
    assert all(p.decided_by == "" for p in bank.judgement_requests.open("bank"))
