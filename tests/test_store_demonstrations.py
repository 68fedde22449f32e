"""Demonstrations in the store: which stay, with their vectors, and what takes them away."""

import pytest
from store_scene import answered

from store import Store
from store.demonstrations import Demonstration
from store.records import Verdict


def demonstration(store: Store, question: str, answer: str, owner: str = "local") -> Demonstration:
    """Of an answer in a conversation of its own."""
    return Demonstration(answered(store, question, answer, owner).id, question, answer)


def texts(store: Store) -> list[tuple[str, str]]:
    return [(one.question, one.answer) for one in store.demonstrations.all("bank")]


def ready(store: Store, model: str = "words") -> list[str]:
    return [one.question for one, _ in store.demonstrations.with_vectors("bank", model)]


@pytest.fixture
def three(bank: Store) -> list[Demonstration]:
    """Three of them, with vectors."""
    made = [demonstration(bank, f"question {name}", f"answer {name}") for name in "abc"]
    bank.demonstrations.replace("bank", made)
    bank.demonstrations.set_vectors("words", {one.message_id: b"1234" for one in made})
    return made


def test_what_stays_keeps_its_vector_and_what_changed_loses_it(
    bank: Store, three: list[Demonstration]
) -> None:
    a, b, _ = three
    new = demonstration(bank, "question d", "answer d")
    better = Demonstration(b.message_id, "question b", "a better answer")
    bank.demonstrations.replace("bank", [a, better, new])
    assert texts(bank) == [
        ("question a", "answer a"),
        ("question b", "a better answer"),
        ("question d", "answer d"),
    ]
    assert ready(bank) == ["question a"]
    missing = bank.demonstrations.without_vector("bank", "words", 10)
    assert [one.question for one in missing] == ["question d", "question b"], "the newest first"
    assert bank.demonstrations.without_vector("bank", "words", 1) == missing[:1]


def test_another_model_has_other_vectors(bank: Store, three: list[Demonstration]) -> None:
    assert ready(bank, "other") == [] and len(bank.demonstrations.without_vector("bank", "other", 10)) == 3
    bank.demonstrations.set_vectors("other", {three[0].message_id: b"12345678"})
    assert ready(bank, "other") == ["question a"] and ready(bank) == ["question b", "question c"]


def test_every_change_is_seen_and_nothing_else(bank: Store, three: list[Demonstration]) -> None:
    a, b, c = three
    seen = [bank.demonstrations.state("bank", "words")]
    bank.demonstrations.replace("bank", three)
    assert bank.demonstrations.state("bank", "words") == seen[0], "nothing has changed"
    for now in ([a, b, Demonstration(c.message_id, "question c", "another")], [a, b], three):
        bank.demonstrations.replace("bank", now)
        seen.append(bank.demonstrations.state("bank", "words"))
        if c.message_id in {one.message_id for one in now}:
            bank.demonstrations.set_vectors("words", {c.message_id: b"1234"})
            seen.append(bank.demonstrations.state("bank", "words"))
    assert len(set(seen)) == len(seen)


def test_a_deleted_answer_is_none_any_more_and_becomes_none_again(
    bank: Store, three: list[Demonstration]
) -> None:
    bank.assistants.create("shop", "Shop", "exact")
    bank.demonstrations.replace("shop", [])  # another assistant's
    assert len(texts(bank)) == 3 and bank.demonstrations.all("shop") == []
    gone = bank.messages.get(three[1].message_id).conversation_id
    bank.conversations.delete(gone)
    assert texts(bank) == [("question a", "answer a"), ("question c", "answer c")]
    bank.demonstrations.replace("bank", three)
    assert len(texts(bank)) == 2, "somebody had read them before the deletion"
    bank.demonstrations.set_vectors("words", {three[1].message_id: b"1234"})
    assert bank.maintenance.check() == []


def test_what_a_person_asked_or_put_right_is_erased_with_them(bank: Store) -> None:
    mine, other = (demonstration(bank, f"by {who}", "answer", who) for who in ("ann", "bo"))
    corrected = demonstration(bank, "question", "as ann puts it", "bo")
    bank.ratings.add(corrected.message_id, "ann", Verdict.DOWN, correction="as ann puts it")
    bank.demonstrations.replace("bank", [mine, other, corrected])
    bank.erasure.erase("ann")
    assert texts(bank) == [("by bo", "answer")]
