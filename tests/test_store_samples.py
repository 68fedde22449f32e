"""Loading sample conversations: all or none, once, and the same ids everywhere."""

import pytest

from store import Store, StoreError
from store.errors import Conflict
from store.records import ImportedTurn, Verdict

TURNS = [
    ImportedTurn("c1", "q1", "a1", Verdict.UP, created_at=5.0),
    ImportedTurn("c1", "q2", "a2", None, "wrong", "see manual", "a2 as it should be", "ann", 6.0),
    ImportedTurn("c2", "q3", "a3", created_at=7.0),
]


@pytest.fixture
def bank(store: Store) -> Store:
    store.create_assistant("bank", "Bank", "exact")
    return store


def test_turns_become_threads_with_their_ratings(bank: Store) -> None:
    assert bank.load_conversations("bank", TURNS) == 2
    assert [m.text for m in bank.thread("c1")] == ["q1", "a1", "q2", "a2"]
    assert [c.id for c in bank.conversations("bank", source="sample")] == ["c2", "c1"]
    answers = bank.rated_answers("bank")
    assert [a.answer for a in answers] == ["a1", "a2"]
    correction = answers[1].ratings[0]
    assert (correction.verdict, correction.correction, correction.rater) == (
        None,
        "a2 as it should be",
        "ann",
    )
    assert bank.check() == []


def test_loading_again_adds_only_what_is_new(bank: Store) -> None:
    bank.load_conversations("bank", TURNS[:2])
    assert bank.load_conversations("bank", TURNS) == 1
    assert bank.load_conversations("bank", TURNS) == 0
    assert bank.stats()["messages"] == 6


def test_one_bad_turn_keeps_all_out(bank: Store) -> None:
    with pytest.raises(StoreError, match="NUL"):
        bank.load_conversations("bank", [*TURNS, ImportedTurn("c3", "q\x00", "a")])
    assert bank.conversations("bank") == []


def test_another_assistants_conversation_is_not_taken_over(bank: Store) -> None:
    bank.create_assistant("shop", "Shop", "exact")
    bank.load_conversations("bank", TURNS)
    with pytest.raises(Conflict, match="belongs to assistant 'bank'"):
        bank.load_conversations("shop", TURNS)
