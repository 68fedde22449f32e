"""Cards that ask people which answers to one question are right."""

import pytest
from imported_turns import ImportedTurn, load_turns
from review_queue_scene import UP, begun, message, rated_desk, shown

from assistant.web.access import Refused
from assistant.web.review_queue import ReviewSession
from store import Store
from store.records import Ruling
from store.reviews import ReviewFilter, ReviewKind


@pytest.fixture
def desk(store: Store) -> Store:
    return rated_desk(store)


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
    assert shown(begun(asked, ReviewFilter(ReviewKind.PROPOSED))[1]) == ["c4", "c3"]
    assert shown(begun(asked, ReviewFilter(ReviewKind.DOWN))[1]) == ["c2", "c1", "c3"], (
        "who looks for something gets that"
    )
    assert queue.following(session).asked[0].text == "another answer 3"


def verdicts(store: Store) -> list[bool | None]:
    return [one.accepted for one in store.judgement_requests.decided("desk")]


def test_a_judgement_is_saved_and_undone(asked: Store) -> None:
    queue, session = begun(asked, ReviewFilter())
    first, second = (one.id for one in session.waiting[:2])
    queue.decide(session, first, Ruling.APPROVE)
    queue.decide(session, second, Ruling.REJECT)
    queue.decide(session, message(2), Ruling.REJECT)
    assert verdicts(asked) == [True, False] and queue.decided_today("desk") == 3
    for _ in range(2):
        queue.undo(session)
    assert shown(session) == ["c3", "c2", "c1"] and asked.decisions.effective([message(2)]) == {}
    assert verdicts(asked) == [True]
    queue.skip(session, second)
    assert shown(session) == ["c2", "c1", "c3"]


def test_all_judgement_requests_are_decided_at_once_and_undone_at_once(asked: Store) -> None:
    queue, session = begun(asked, ReviewFilter(ReviewKind.PROPOSED))
    queue.decide_all(session, Ruling.APPROVE, 2)
    assert verdicts(asked) == [True, True] and shown(session) == []
    queue.undo(session)
    assert verdicts(asked) == [] and shown(session) == ["c4", "c3"]
    second = asked.judgement_requests.open("desk")[1]
    asked.judgement_requests.choose([second.id], [], "ann")
    queue.decide(session, session.waiting[0].id, Ruling.APPROVE)
    assert shown(session) == [], "what somebody else decided is passed over"


def test_many_judgement_requests_cost_as_many_queries_as_one(desk: Store) -> None:
    run = desk.runs.start("desk", {}, "test")
    counts = []
    for texts in (["one"], [f"more {n}" for n in range(20)]):
        desk.judgement_requests.add(run.id, [(message(1 + n % 4), text) for n, text in enumerate(texts)])
        statements: list[str] = []
        desk._file.connection().set_trace_callback(statements.append)
        begun(desk, ReviewFilter(ReviewKind.PROPOSED))
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
        cards = begun(store, ReviewFilter(ReviewKind.PROPOSED))[1].waiting
        asked = next(one.asked for one in cards if one.item.message_id == question)
        return [request.text for request in asked if request.text in texts]

    labels = ["first asked", "second asked"]
    turns = [ImportedTurn(f"more{n}", f"which {n}", f"answer {n}", created_at=9.0 + n) for n in range(20)]
    load_turns(compared, "desk", turns)
    firsts = [order(compared, labels, f"more{n}.1.assistant")[0] for n in range(20)]
    assert set(firsts) == set(labels), "neither what was asked first nor one of two labels always comes first"
    assert numbered(begun(compared, ReviewFilter())[1]) == numbered(session), "stable"
    with Store(compared.path.with_name("other.sqlite")) as other:
        other.assistants.create("desk", "Desk", "exact")
        load_turns(other, "desk", [ImportedTurn("c4", "question 4", "answer 4", UP)])
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


def test_one_undo_takes_a_whole_card_back(compared: Store) -> None:
    queue, session = begun(compared, ReviewFilter())
    texts = numbered(session)
    queue.skip(session, session.current.id)
    queue.choose(session, session.current.id, 1)
    for _ in range(2):
        queue.undo(session)
    assert shown(session) == ["c4", "c3", "c2", "c1"] and accepted(compared) == {}
    for number in (2, 1):
        queue.choose(session, session.current.id, number)
    assert shown(session) == ["c2", "c1"] and queue.decided_today("desk") == 2
    queue.undo(session)
    assert shown(session) == ["c3", "c2", "c1"] and numbered(session) == ["alone"]
    queue.undo(session)
    assert numbered(session) == texts and accepted(compared) == {} and queue.decided_today("desk") == 0


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
    assert shown(session) == ["c2", "c1"]


def test_answers_that_are_to_be_told_apart_are_not_decided_all_at_once(compared: Store) -> None:
    queue, session = begun(compared, ReviewFilter(ReviewKind.PROPOSED))
    assert len(session.waiting) == 2 and session.at_once == 0
    with pytest.raises(Refused, match="There are 0 answers now, not 2"):
        queue.decide_all(session, Ruling.APPROVE, 2)
    assert accepted(compared) == {}
