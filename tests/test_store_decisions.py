"""Decisions of reviewers: the latest of each reviewer counts, and undoing brings back what was before."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from imported_turns import ImportedTurn, load_turns

from store import Store
from store.errors import Conflict, NotFound
from store.records import Role, Ruling, Verdict

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


def test_of_several_reviewers_the_last_one_counts_and_taking_it_back_leaves_the_others(desk: Store) -> None:
    anns = desk.decisions.add(A1, "ann", Ruling.APPROVE)
    bos = desk.decisions.add(A1, "bo", Ruling.REJECT)
    assert desk.decisions.effective([A1]) == {A1: bos}
    desk.decisions.undo([bos.id])
    assert desk.decisions.effective([A1]) == {A1: anns}


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
    assert len(desk.decisions.undo([new.id])) == 1 and desk.decisions.undo([new.id]) == []
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
