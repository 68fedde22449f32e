"""A session of a reviewer: what comes next, what is saved, and what Undo brings back."""

import pytest

from assistant.web.access import Refused
from assistant.web.review_order import Why
from assistant.web.review_queue import ReviewQueue, ReviewSession
from store import Store
from store.accounts import LOCAL
from store.errors import NotSaved
from store.outdated import outdated_answers
from store.records import ImportedTurn, MessageStatus, Role, Ruling, Segment, SegmentKind, Verdict
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


def test_what_the_prompt_no_longer_says_comes_first_also_where_it_was_decided_before(desk: Store) -> None:
    def prompt(price: int) -> None:
        desk.prompts.add("desk", [Segment("a", SegmentKind.INSTRUCTION, text=f"It costs ${price}.")])

    prompt(14)
    turns = [ImportedTurn(f"old{n}", f"price {n}", "It is $14.", UP, created_at=9.0) for n in range(3)]
    desk.transfer.load("desk", turns)
    first, second, third = (f"old{n}.1.assistant" for n in range(3))
    desk.decisions.add_all("bo", Ruling.APPROVE, {first: None})
    prompt(15)
    queue, session = begun(desk, ReviewFilter())
    assert {one.id for one in session.waiting[:3]} == {first, second, third}
    assert all(one.reasons[0] is Why.OUTDATED for one in session.waiting[:3])
    assert shown(session)[3:] == ["c2", "c1"]
    for one in list(session.waiting[:3]):
        queue.decide(session, one.id, Ruling.CORRECT, "It is $15.")
    assert shown(session) == ["c2", "c1"] and outdated_answers(desk, "desk") == []
    queue.undo(session)
    assert len(outdated_answers(desk, "desk")) == 1 and session.current.reasons == (Why.OUTDATED,)


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
    with pytest.raises(Refused, match="has changed"):
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
    assert first.asked[0].text == "another answer 4" and first.others == ("answer 4",)
    assert second.others == ("better",), "the correction, not the answer that it corrected"
    assert shown(begun(asked, ReviewFilter(Show.PROPOSED))[1]) == ["c4", "c3"]
    assert shown(begun(asked, ReviewFilter(Show.DOWN))[1]) == ["c2", "c1", "c3"], (
        "who looks for something gets that"
    )
    assert queue.following(session).asked[0].text == "another answer 3"


def test_a_judgement_is_saved_and_undone(asked: Store) -> None:
    queue, session = begun(asked, ReviewFilter())
    first, second = (one.id for one in session.waiting[:2])
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
    asked.judgement_requests.choose([second.id], [], "ann")
    queue.decide(session, session.waiting[0].id, Ruling.APPROVE)
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


TEXTS = ("served one", "candidate one", "base one")


@pytest.fixture
def compared(desk: Store) -> Store:
    """Three systems answered question 4 differently, and one question 3."""
    run = desk.runs.start("desk", {}, "test")
    answers = [(message(4), text) for text in TEXTS]
    desk.judgement_requests.add(run.id, [answers[0], (message(3), "alone"), *answers[1:]])
    return desk


def accepted(store: Store) -> dict[str, bool | None]:
    return {one.text: one.accepted for one in store.judgement_requests.decided("desk")}


def numbered(session: ReviewSession) -> list[str]:
    assert session.current is not None
    return [request.text for request in session.current.asked]


def test_answers_to_one_question_are_one_card_in_an_order_that_tells_nothing(compared: Store) -> None:
    queue, session = begun(compared, ReviewFilter())
    assert shown(session) == ["c4", "c3", "c2", "c1"] and sorted(numbered(session)) == sorted(TEXTS)
    item = session.current.item
    assert item.ratings == () and item.decision is None and item.is_whole, (
        "what was said about the served one"
    )
    following = queue.following(session)
    assert [request.text for request in following.asked] == ["alone"] and following.others == ("better",)

    def order(store: Store, texts: list[str], question: str) -> list[str]:
        run = store.runs.start("desk", {}, "test")
        store.judgement_requests.add(run.id, [(question, text) for text in texts])
        cards = begun(store, ReviewFilter(Show.PROPOSED))[1].waiting
        asked = next(one.asked for one in cards if one.item.message_id == question)
        return [request.text for request in asked if request.text in texts]

    labels = ["first asked", "second asked"]
    turns = [ImportedTurn(f"more{n}", f"which {n}", f"answer {n}", created_at=9.0 + n) for n in range(20)]
    compared.transfer.load("desk", turns)
    firsts = [order(compared, labels, f"more{n}.1.assistant")[0] for n in range(20)]
    assert set(firsts) == set(labels), "neither what was asked first nor one of two labels always comes first"
    assert numbered(begun(compared, ReviewFilter())[1]) == numbered(session), "stable"
    with Store(compared.path.with_name("other.sqlite")) as other:
        other.assistants.create("desk", "Desk", "exact")
        other.transfer.load("desk", [ImportedTurn("c4", "question 4", "answer 4", UP)])
        assert order(other, [*reversed(TEXTS)], message(4)) == numbered(session)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_only_the_chosen_answer_is_right(compared: Store, number: int) -> None:
    queue, session = begun(compared, ReviewFilter())
    id, texts = session.current.id, numbered(session)
    for wrong in (0, 4):
        with pytest.raises(Refused, match=f"no answer {wrong}"):
            queue.choose(session, id, wrong)
    queue.choose(session, id, number)
    assert accepted(compared) == {text: text == texts[number - 1] for text in texts}
    assert shown(session) == ["c3", "c2", "c1"] and queue.decided_today("desk") == 1
    with pytest.raises(Refused, match="has changed"):
        queue.choose(session, id, number)  # pressed twice


@pytest.mark.parametrize("ruling", [Ruling.APPROVE, Ruling.REJECT])
def test_all_or_none_of_a_card_are_right(compared: Store, ruling: Ruling) -> None:
    queue, session = begun(compared, ReviewFilter())
    queue.decide(session, session.current.id, ruling)
    assert accepted(compared) == dict.fromkeys(TEXTS, ruling is Ruling.APPROVE)
    assert compared.decisions.effective([message(4)]) == {}, "the served answer itself is not reviewed"


def test_one_undo_takes_a_whole_card_back_also_in_a_new_session(compared: Store) -> None:
    queue, session = begun(compared, ReviewFilter())
    texts = numbered(session)
    queue.skip(session, session.current.id)
    assert shown(session) == ["c3", "c2", "c1", "c4"]
    queue.choose(session, session.current.id, 1)
    queue.undo(session)
    queue.undo(session)
    assert shown(session) == ["c4", "c3", "c2", "c1"] and accepted(compared) == {}
    queue.choose(session, session.current.id, 2)
    queue.choose(session, session.current.id, 1)

    queue, restarted = begun(compared, ReviewFilter())
    assert shown(restarted) == ["c2", "c1"] and queue.decided_today("desk") == 2
    queue.undo(restarted)
    assert shown(restarted) == ["c3", "c2", "c1"] and numbered(restarted) == ["alone"]
    queue.undo(restarted)
    assert shown(restarted) == ["c4", "c3", "c2", "c1"] and numbered(restarted) == texts
    assert accepted(compared) == {} and queue.decided_today("desk") == 0 and not queue.can_undo(restarted)


def test_what_somebody_else_decided_leaves_the_card_before_a_number_is_taken(compared: Store) -> None:
    queue, session = begun(compared, ReviewFilter())
    id = session.current.id
    first, second, third = session.current.asked
    compared.judgement_requests.choose([first.id], [first.id], "ann")
    with pytest.raises(Refused, match="has changed"):
        queue.choose(session, id, 2)
    assert numbered(session) == [second.text, third.text] and accepted(compared) == {first.text: True}
    queue.choose(session, id, 2)
    assert accepted(compared) == {first.text: True, second.text: False, third.text: True}
    compared.judgement_requests.choose([second.id], [second.id], "ann")
    queue.undo(session)
    assert accepted(compared) == {first.text: True, second.text: True}, "hers stays"
    assert numbered(session) == [third.text]


def test_a_deleted_conversation_takes_its_card_and_what_there_was_to_undo(compared: Store) -> None:
    queue, session = begun(compared, ReviewFilter())
    queue.choose(session, session.current.id, 1)
    alone = session.current.id
    for conversation in ("c4", "c3"):
        compared.conversations.delete(conversation)
    with pytest.raises(Refused, match="has changed"):
        queue.choose(session, alone, 1)
    assert shown(session) == ["c2", "c1"]
    queue.undo(session)
    assert shown(session) == ["c2", "c1"] and not queue.can_undo(session)


def test_answers_that_are_to_be_told_apart_are_not_decided_all_at_once(compared: Store) -> None:
    queue, session = begun(compared, ReviewFilter(Show.PROPOSED))
    assert len(session.waiting) == 2 and session.at_once == 0
    with pytest.raises(Refused, match="There are 0 answers now, not 2"):
        queue.decide_all(session, Ruling.APPROVE, 2)
    assert accepted(compared) == {}
