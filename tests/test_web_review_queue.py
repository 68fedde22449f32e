"""A session of a reviewer: what comes next, what is saved, and what Undo brings back."""

import pytest
from imported_turns import ImportedTurn, load_turns
from review_queue_scene import ALL, DOWN, UP, begun, message, rated_desk, shown

from assistant.web.access import Refused
from assistant.web.review_order import ReviewReason
from store import Store
from store.outdated import outdated_answers
from store.records import MessageStatus, Role, Ruling, Segment, SegmentKind
from store.reviews import ReviewFilter, ReviewKind


@pytest.fixture
def desk(store: Store) -> Store:
    return rated_desk(store)


def test_what_needs_a_look_comes_first_and_alone_where_nothing_else_is_asked_for(desk: Store) -> None:
    assert shown(begun(desk)[1]) == ["c2", "c1", "c4", "c3"]
    assert shown(begun(desk, ReviewFilter())[1]) == ["c2", "c1"]


def test_what_the_prompt_no_longer_says_comes_first_also_where_it_was_decided_before(desk: Store) -> None:
    def prompt(price: int) -> None:
        desk.prompts.add("desk", [Segment("a", SegmentKind.INSTRUCTION, text=f"It costs ${price}.")])

    prompt(14)
    turns = [ImportedTurn(f"old{n}", f"price {n}", "It is $14.", UP, created_at=9.0) for n in range(3)]
    load_turns(desk, "desk", turns)
    old = [f"old{n}.1.assistant" for n in range(3)]
    desk.decisions.add_all("bo", Ruling.APPROVE, {old[0]: None})
    prompt(15)
    queue, session = begun(desk, ReviewFilter())
    first = session.waiting[:3]
    assert sorted(one.id for one in first) == old and all(
        one.reasons[0] is ReviewReason.OUTDATED for one in first
    )
    assert shown(session)[3:] == ["c2", "c1"]
    for one in first:
        queue.decide(session, one.id, Ruling.CORRECT, "It is $15.")
    assert shown(session) == ["c2", "c1"] and outdated_answers(desk, "desk") == []
    queue.undo(session)
    assert len(outdated_answers(desk, "desk")) == 1 and session.current.reasons == (ReviewReason.OUTDATED,)


def test_a_decision_is_saved_once_and_brings_the_next(desk: Store) -> None:
    queue, session = begun(desk)
    assert queue.following(session).item.conversation_id == "c1"
    queue.decide(session, message(2), Ruling.REJECT)
    with pytest.raises(Refused, match="has changed"):
        queue.decide(session, message(2), Ruling.APPROVE)  # pressed twice
    queue.decide(session, message(1), Ruling.CORRECT, "as it should be")
    assert shown(session) == ["c4", "c3"] and queue.decided_today("desk") == 2
    effective = desk.decisions.effective([message(1), message(2)])
    assert effective[message(2)].ruling is Ruling.REJECT
    assert effective[message(1)].correction == "as it should be"


def test_approving_a_corrected_answer_approves_of_the_correction_that_was_seen(desk: Store) -> None:
    queue, session = begun(desk, ReviewFilter(ReviewKind.CORRECTED))
    desk.ratings.add(message(3), "ann", DOWN, correction="changed while it was shown")
    queue.decide(session, message(3), Ruling.APPROVE)
    assert desk.decisions.effective([message(3)])[message(3)].correction == "better"


@pytest.mark.parametrize(("status", "reason"), [("complete", "length"), ("stopped", None)])
def test_an_answer_without_its_end_cannot_be_approved_as_it_stands(
    desk: Store, status: str, reason: str | None
) -> None:
    asked, ended = desk.messages.add("c1", None, Role.USER, "And?").id, MessageStatus(status)
    cut = desk.messages.add("c1", asked, Role.ASSISTANT, "It", ended, finish_reason=reason).id
    queue, session = begun(desk)
    while session.current.id != cut:
        queue.skip(session, session.current.id)
    with pytest.raises(Refused, match="cut off before its end"):
        queue.decide(session, cut, Ruling.APPROVE)
    queue.decide(session, cut, Ruling.CORRECT, "It is nine.")
    assert desk.decisions.effective([cut])[cut].correction == "It is nine."


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
    queue, session = begun(desk, ReviewFilter(ReviewKind.DOWN))
    with pytest.raises(Refused, match="There are 3 answers now, not 2"):
        queue.decide_all(session, Ruling.APPROVE, 2)
    queue.decide_all(session, Ruling.APPROVE, 3)
    effective = desk.decisions.effective(message(n) for n in (1, 2, 3))
    corrections = {id: decision.correction for id, decision in effective.items()}
    assert corrections == {message(1): None, message(2): None, message(3): "better"} and shown(session) == []
    queue.undo(session)
    assert shown(session) == ["c2", "c1", "c3"] and desk.decisions.effective(effective) == {}


def test_all_at_once_leaves_what_others_decided_and_starts_anew_where_some_were_deleted(desk: Store) -> None:
    queue, session = begun(desk, ReviewFilter(ReviewKind.DOWN))
    theirs = desk.decisions.add(message(1), "somebody", Ruling.APPROVE)
    with pytest.raises(Refused, match="There are 2 answers now, not 3"):
        queue.decide_all(session, Ruling.REJECT, 3)
    desk.conversations.delete("c2")
    with pytest.raises(Refused, match="deleted meanwhile"):
        queue.decide_all(session, Ruling.REJECT, 2)
    assert shown(session) == ["c3"]
    queue.decide_all(session, Ruling.REJECT, 1)
    assert desk.decisions.effective([message(1)]) == {message(1): theirs}


def test_what_others_decided_or_deleted_meanwhile_is_passed_over_and_can_be_decided_again(
    desk: Store,
) -> None:
    queue, session = begun(desk)
    desk.decisions.add(message(1), "somebody", Ruling.REJECT)
    desk.conversations.delete("c4")
    assert queue.following(session).item.conversation_id == "c3"
    queue.decide(session, message(2), Ruling.REJECT)
    assert shown(session) == ["c3"]
    queue, session = begun(desk, ReviewFilter(ReviewKind.DECIDED))
    assert sorted(shown(session)) == ["c1", "c2"]
    queue.decide(session, session.current.id, Ruling.APPROVE)
    rulings = [one.ruling for one in desk.decisions.effective([message(1), message(2)]).values()]
    assert sorted(rulings) == [Ruling.APPROVE, Ruling.REJECT]


def test_another_assistant_is_another_session(desk: Store) -> None:
    queue, session = begun(desk)
    queue.decide(session, message(2), Ruling.APPROVE)
    desk.assistants.create("shop", "Shop", "exact")
    queue.open(session, "shop", ALL)
    assert shown(session) == [] and session.actions == []
    queue.open(session, None, ALL)
    assert session.current is None
