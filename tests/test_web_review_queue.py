"""A session of a reviewer: what comes next, what is saved, and what Undo brings back."""

import pytest

from assistant.web.access import Refused
from assistant.web.review_queue import ReviewQueue, ReviewSession
from store import Store
from store.accounts import LOCAL
from store.errors import NotSaved
from store.records import ImportedTurn, MessageStatus, Role, Ruling, Verdict
from store.reviews import ReviewFilter, Show

UP, DOWN = Verdict.UP, Verdict.DOWN
ALL = ReviewFilter(Show.UNDECIDED)


@pytest.fixture
def desk(store: Store) -> Store:
    """Three answers that are rated down, the newest corrected, and a fourth that nobody objects to."""
    store.assistants.create("desk", "Desk", "exact")
    turns = [ImportedTurn(f"c{n}", f"question {n}", f"answer {n}", DOWN, created_at=float(n)) for n in (1, 2)]
    turns.append(
        ImportedTurn("c3", "question 3", "answer 3", DOWN, correction="better", rater="ann", created_at=3.0)
    )
    turns.append(ImportedTurn("c4", "question 4", "answer 4", UP, created_at=4.0))
    store.transfer.load("desk", turns)
    return store


def shown(session: ReviewSession) -> list[str]:
    return [one.item.conversation_id for one in session.waiting]


def message(number: int) -> str:
    return f"c{number}.1.assistant"


def begun(store: Store, wanted: ReviewFilter = ALL) -> tuple[ReviewQueue, ReviewSession]:
    queue, session = ReviewQueue(store, "local"), ReviewSession()
    queue.open(session, "desk", wanted)
    return queue, session


def test_what_needs_a_look_comes_first_and_alone_where_nothing_else_is_asked_for(desk: Store) -> None:
    assert shown(begun(desk)[1]) == ["c2", "c1", "c4", "c3"]
    assert shown(begun(desk, ReviewFilter())[1]) == ["c2", "c1"]


def test_a_decision_is_saved_and_brings_the_next(desk: Store) -> None:
    queue, session = begun(desk)
    assert queue.following(session).item.conversation_id == "c1"
    queue.decide(session, message(2), Ruling.REJECT)
    queue.decide(session, message(1), Ruling.CORRECT, "as it should be")
    assert shown(session) == ["c4", "c3"] and queue.decided_today("desk") == 2
    effective = desk.decisions.effective([message(1), message(2)])
    assert effective[message(2)].ruling is Ruling.REJECT
    assert effective[message(1)].correction == "as it should be"


def test_approving_a_corrected_answer_approves_of_the_correction_that_was_seen(desk: Store) -> None:
    queue, session = begun(desk, ReviewFilter(Show.CORRECTED))
    desk.ratings.add(message(3), "ann", DOWN, correction="changed while it was shown")
    queue.decide(session, message(3), Ruling.APPROVE)
    assert desk.decisions.effective([message(3)])[message(3)].correction == "better"


@pytest.mark.parametrize(("status", "reason"), [("complete", "length"), ("stopped", None)])
def test_an_answer_without_its_end_cannot_be_approved_as_it_stands(
    desk: Store, status: str, reason: str | None
) -> None:
    question = desk.messages.add("c1", None, Role.USER, "And?")
    cut = desk.messages.add(
        "c1", question.id, Role.ASSISTANT, "It", MessageStatus(status), finish_reason=reason
    )
    queue, session = begun(desk)
    while session.current and session.current.item.message_id != cut.id:
        queue.skip(session, session.current.item.message_id)
    with pytest.raises(Refused, match="cut off before its end"):
        queue.decide(session, cut.id, Ruling.APPROVE)
    queue.decide(session, cut.id, Ruling.CORRECT, "It is nine.")
    assert desk.decisions.effective([cut.id])[cut.id].correction == "It is nine."


def test_what_was_skipped_comes_last_also_in_a_new_list(desk: Store) -> None:
    queue, session = begun(desk)
    queue.skip(session, message(2))
    assert shown(session) == ["c1", "c4", "c3", "c2"] and desk.decisions.all(message(2)) == []
    queue.open(session, "desk", ALL)
    assert shown(session) == ["c1", "c4", "c3", "c2"]
    queue.undo(session)
    assert shown(session) == ["c2", "c1", "c4", "c3"] and session.skipped == []


def test_undo_goes_back_action_by_action(desk: Store) -> None:
    queue, session = begun(desk)
    queue.decide(session, message(2), Ruling.APPROVE)
    queue.skip(session, message(1))
    queue.decide(session, message(4), Ruling.REJECT)
    for first in ("c4", "c1", "c2"):
        queue.undo(session)
        assert shown(session)[0] == first
    assert shown(session) == ["c2", "c1", "c4", "c3"]
    assert desk.decisions.effective(message(n) for n in range(1, 5)) == {}
    with pytest.raises(Refused, match="nothing to undo"):
        queue.undo(session)


def test_all_at_once_needs_the_number_that_was_shown_and_is_undone_at_once(desk: Store) -> None:
    queue, session = begun(desk, ReviewFilter(Show.DOWN))
    with pytest.raises(Refused, match="There are 3 answers now, not 2"):
        queue.decide_all(session, Ruling.APPROVE, 2)
    queue.decide_all(session, Ruling.APPROVE, 3)
    effective = desk.decisions.effective(message(n) for n in (1, 2, 3))
    assert {id: decision.correction for id, decision in effective.items()} == {
        message(1): None,
        message(2): None,
        message(3): "better",
    }
    assert shown(session) == []
    queue.undo(session)
    assert shown(session) == ["c2", "c1", "c3"] and desk.decisions.effective(effective) == {}


def test_all_at_once_leaves_what_others_decided_and_starts_anew_where_some_were_deleted(desk: Store) -> None:
    queue, session = begun(desk, ReviewFilter(Show.DOWN))
    theirs = desk.decisions.add(message(1), "somebody", Ruling.APPROVE)
    with pytest.raises(Refused, match="There are 2 answers now, not 3"):
        queue.decide_all(session, Ruling.REJECT, 3)
    desk.conversations.delete("c2")
    with pytest.raises(Refused, match="deleted meanwhile"):
        queue.decide_all(session, Ruling.REJECT, 2)
    assert shown(session) == ["c3"]
    queue.decide_all(session, Ruling.REJECT, 1)
    assert desk.decisions.effective([message(1)]) == {message(1): theirs}


def test_a_new_session_undoes_what_was_decided_before_it_all_at_once_first(desk: Store) -> None:
    desk.decisions.add(message(4), LOCAL, Ruling.APPROVE)
    queue, bulk = begun(desk, ReviewFilter(Show.DOWN))
    queue.decide_all(bulk, Ruling.REJECT, 3)

    queue, reloaded = begun(desk, ReviewFilter(Show.DOWN))
    assert shown(reloaded) == [] and not reloaded.actions and queue.can_undo(reloaded)
    queue.undo(reloaded)
    assert sorted(shown(reloaded)) == ["c1", "c2", "c3"]
    assert list(desk.decisions.effective(message(n) for n in range(1, 5))) == [message(4)]
    queue.undo(reloaded)
    assert desk.decisions.effective([message(4)]) == {} and not queue.can_undo(reloaded)
    with pytest.raises(Refused, match="nothing to undo"):
        queue.undo(reloaded)


def test_what_somebody_else_or_nobody_today_decided_is_not_undone(desk: Store) -> None:
    desk.decisions.add(message(1), "somebody", Ruling.REJECT)
    queue, session = begun(desk)
    assert not queue.can_undo(session)
    queue.decide(session, message(2), Ruling.REJECT)
    desk._file.connection().execute("UPDATE decisions SET created_at = created_at - 90000")
    assert not queue.can_undo(begun(desk)[1])


def test_an_action_on_what_is_no_longer_shown_changes_nothing(desk: Store) -> None:
    queue, session = begun(desk)
    queue.decide(session, message(2), Ruling.APPROVE)
    with pytest.raises(Refused, match="Another answer is shown"):
        queue.decide(session, message(2), Ruling.REJECT)  # pressed twice
    assert len(desk.decisions.all(message(2))) == 1 and shown(session)[0] == "c1"


def test_what_others_decided_or_deleted_meanwhile_is_passed_over(desk: Store) -> None:
    queue, session = begun(desk)
    desk.decisions.add(message(1), "somebody", Ruling.REJECT)
    desk.conversations.delete("c4")
    assert queue.following(session).item.conversation_id == "c3"
    queue.decide(session, message(2), Ruling.APPROVE)
    assert shown(session) == ["c3"]


def test_nothing_moves_when_a_decision_cannot_be_saved(desk: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, session = begun(desk)

    def full(*_: object) -> None:
        raise NotSaved("Nothing was saved: the disk is full.")

    monkeypatch.setattr(desk.decisions, "add_all", full)
    with pytest.raises(NotSaved):
        queue.decide(session, message(2), Ruling.CORRECT, "typed")
    assert shown(session)[0] == "c2" and session.actions == []


def test_reviewed_answers_can_be_decided_again(desk: Store) -> None:
    desk.decisions.add(message(1), "somebody", Ruling.APPROVE)
    queue, session = begun(desk, ReviewFilter(Show.DECIDED))
    assert shown(session) == ["c1"]
    queue.decide(session, message(1), Ruling.REJECT)
    assert desk.decisions.effective([message(1)])[message(1)].ruling is Ruling.REJECT


def test_another_assistant_is_another_session(desk: Store) -> None:
    queue, session = begun(desk)
    queue.decide(session, message(2), Ruling.APPROVE)
    desk.assistants.create("shop", "Shop", "exact")
    queue.open(session, "shop", ALL)
    assert shown(session) == [] and session.actions == []
    queue.open(session, None, ALL)
    assert session.current is None


@pytest.fixture
def asked(desk: Store) -> Store:
    """A refused candidate has left two answers behind."""
    run = desk.runs.start("desk", {}, "test")
    desk.judgement_requests.add(run.id, [(message(4), "another answer 4"), (message(3), "another answer 3")])
    return desk


def test_judgement_requests_come_first_and_show_what_was_approved(asked: Store) -> None:
    queue, session = begun(asked, ReviewFilter())
    assert shown(session) == ["c4", "c3", "c2", "c1"]
    first, second = session.waiting[:2]
    assert first.item.answer == "another answer 4" and first.others == ("answer 4",)
    assert second.others == ("better",), "the correction, not the answer that it corrected"
    assert shown(begun(asked, ReviewFilter(Show.PROPOSED))[1]) == ["c4", "c3"]
    assert shown(begun(asked, ReviewFilter(Show.DOWN))[1]) == ["c2", "c1", "c3"], (
        "who looks for something gets that"
    )
    assert queue.following(session).item.answer == "another answer 3"


def test_a_judgement_is_saved_and_undone(asked: Store) -> None:
    queue, session = begun(asked, ReviewFilter())
    first, second = (one.item.message_id for one in session.waiting[:2])
    queue.decide(session, first, Ruling.APPROVE)
    queue.decide(session, second, Ruling.REJECT)
    queue.decide(session, message(2), Ruling.REJECT)
    assert [p.accepted for p in asked.judgement_requests.decided("desk")] == [True, False]
    assert queue.decided_today("desk") == 3
    for _ in range(2):
        queue.undo(session)
    assert shown(session) == ["c3", "c2", "c1"] and asked.decisions.effective([message(2)]) == {}
    assert [p.accepted for p in asked.judgement_requests.decided("desk")] == [True]
    queue.skip(session, second)
    assert shown(session) == ["c2", "c1", "c3"]


def test_all_judgement_requests_are_decided_at_once_and_undone_at_once(asked: Store) -> None:
    queue, session = begun(asked, ReviewFilter(Show.PROPOSED))
    queue.decide_all(session, Ruling.APPROVE, 2)
    assert [p.accepted for p in asked.judgement_requests.decided("desk")] == [True, True] and shown(
        session
    ) == []
    queue.undo(session)
    assert asked.judgement_requests.decided("desk") == [] and shown(session) == ["c4", "c3"]


def test_a_judgement_request_that_somebody_else_decided_is_passed_over(asked: Store) -> None:
    queue, session = begun(asked, ReviewFilter(Show.PROPOSED))
    second = asked.judgement_requests.open("desk")[1]
    asked.judgement_requests.decide([second.id], False, "ann")
    queue.decide(session, session.waiting[0].item.message_id, Ruling.APPROVE)
    assert shown(session) == []


def test_many_judgement_requests_cost_as_many_queries_as_one(desk: Store) -> None:
    run = desk.runs.start("desk", {}, "test")
    counts = []
    for texts in (["one"], [f"more {n}" for n in range(20)]):
        desk.judgement_requests.add(run.id, [(message(1 + n % 4), text) for n, text in enumerate(texts)])
        statements: list[str] = []
        desk._file.connection().set_trace_callback(statements.append)
        begun(desk, ReviewFilter(Show.PROPOSED))
        desk._file.connection().set_trace_callback(None)
        counts.append(len(statements))
    assert counts[0] == counts[1] > 0
