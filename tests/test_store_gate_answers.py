"""What a gate heard is kept, compared question by question, and goes with whom it came from."""

import pytest

from store import Store
from store.errors import NotFound
from store.records import Example, MessageStatus, Role, Split
from store.runs import PAIRS, GateAnswer, SideBySide, Tally

SCORES = {"base_full": [0.5, 0.9, 0.2, 0.4], "variant 2": [0.9, 0.3, 0.2, 0.5]}


def answered(store: Store, owner: str, question: str) -> tuple[str, str]:
    talk = store.conversations.create("bank", owner=owner)
    asked = store.messages.add(talk.id, None, Role.USER, question)
    return store.messages.add(
        talk.id, asked.id, Role.ASSISTANT, "At nine.", MessageStatus.COMPLETE
    ).id, talk.id


@pytest.fixture
def bank(store: Store) -> Store:
    """A finished run over four gate examples, the last of them of another owner; a train example comes first."""
    store.assistants.create("bank", "Bank", "chrf")
    prompt = store.prompts.add("bank", [])
    owners = ["ann", "ann", "ann", "ann", "cat"]
    turns = [answered(store, owner, f"question {n}") for n, owner in enumerate(owners)]
    examples = [
        Example(
            message,
            talk,
            ((Role.USER, f"question {n}"),),
            f"right {n}",
            False,
            split,
            f"rater of {owners[n]}",
        )
        for n, (message, talk) in enumerate(turns)
        for split in [Split.GATE if n else Split.TRAIN]
    ]
    dataset = store.datasets.add("bank", prompt.id, "hash", examples, {})
    run = store.runs.start("bank", {}, "test")
    store.runs.update(run.id, dataset_id=dataset.id)
    store.gate_answers.add(
        run.id,
        [
            GateAnswer(position, examples[position].message_id, system, f"{system} {position}", score)
            for system, scores in SCORES.items()
            for position, score in enumerate(scores, 1)
        ],
    )
    store.runs.finish(run.id, "refused", "", {})
    return store


def test_two_systems_are_compared_question_by_question(bank: Store) -> None:
    assert bank.gate_answers.tally(1, "variant 2", "base_full") == Tally(better=2, worse=1, asked=4)
    lost = bank.gate_answers.side_by_side(1, "variant 2", "base_full", 2)
    assert lost[0] == SideBySide("question 2", "right 2", "variant 2 2", 0.3, "base_full 2", 0.9)
    assert [pair.question for pair in lost] == ["question 2", "question 3"]
    won = bank.gate_answers.side_by_side(1, "variant 2", "base_full", 9, best_first=True)
    assert [pair.question for pair in won] == ["question 1", "question 4", "question 3", "question 2"]
    assert bank.gate_answers.tally(1, "variant 3", "base_full") == Tally(0, 0, 0)
    assert bank.gate_answers.side_by_side(2, "variant 2", "base_full", 5) == []


def test_all_are_kept_or_none(bank: Store) -> None:
    with pytest.raises(NotFound, match="run 9"):
        bank.gate_answers.add(9, [])
    run = bank.runs.start("bank", {}, "test")
    bank.gate_answers.add(run.id, [GateAnswer(0, "deleted meanwhile", "base_full", "x", 0.5)])
    assert bank._file.connection().execute("SELECT count(*) FROM gate_answers").fetchone()[0] == 8


def test_an_answer_goes_with_its_conversation(bank: Store) -> None:
    talks = {talk.owner: talk.id for talk in bank.conversations.all("bank")}
    bank.conversations.delete(talks["cat"])
    assert bank.gate_answers.tally(1, "variant 2", "base_full").asked == 3


@pytest.mark.parametrize("person", ["cat", "rater of cat"])
def test_a_run_that_saw_an_erased_person_forgets_what_was_answered(bank: Store, person: str) -> None:
    """The candidate learned from the person, so any of its answers may be in the person's words."""
    if person != "cat":
        bank.ratings.add(answered(bank, "ann", "again")[0], person, "up")
    bank.erasure.erase(person)
    assert bank.gate_answers.tally(1, "variant 2", "base_full") == Tally(0, 0, 0)


def test_both_are_found_by_index(bank: Store) -> None:
    with bank._file.reading() as transaction:
        rows = transaction.rows(f"EXPLAIN QUERY PLAN SELECT 1 {PAIRS}", ["variant 2", "base_full", 1])
    assert not [row["detail"] for row in rows if row["detail"].startswith("SCAN")]
