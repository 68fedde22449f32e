"""Splits that stay, datasets that do not change, and adapters that are named once."""

import pytest
from imported_turns import ImportedTurn, load_turns

from store import Store
from store.errors import Conflict, NotFound
from store.records import Example, Role, Split, Verdict

CONTEXT = ((Role.USER, "q"), (Role.ASSISTANT, "a"), (Role.USER, "q2"))
EXAMPLES = tuple(
    Example(f"m{n}", "c1", CONTEXT, "yes", n > 0, split, "ann", n != 1) for n, split in enumerate(Split)
)


@pytest.fixture
def bank(bank: Store) -> Store:
    bank.prompts.add("bank", [])
    load_turns(bank, "bank", [ImportedTurn("c1", "q", "a"), ImportedTurn("c2", "q", "a")])
    return bank


def test_the_first_split_wins_for_ever(bank: Store) -> None:
    assert bank.splits.record({"c1": Split.GATE}) == {"c1": Split.GATE}
    held = bank.splits.record({"c2": Split.DEV, "c1": Split.TRAIN})
    assert held == {"c2": Split.DEV, "c1": Split.GATE} and list(held) == ["c2", "c1"]
    assert bank.splits.record({}) == {}


def test_a_deleted_conversation_comes_back_with_its_split(bank: Store) -> None:
    bank.splits.record({"c1": Split.GATE})
    bank.conversations.delete("c1")
    load_turns(bank, "bank", [ImportedTurn("c1", "q", "a", Verdict.UP)])
    assert bank.answers.rated("bank")[0].split is Split.GATE


def test_a_dataset_is_frozen_and_outlives_its_conversations(bank: Store) -> None:
    prompt = bank.prompts.latest("bank")
    made = bank.datasets.add("bank", prompt.id, "abc", EXAMPLES, {"too short": 2})
    bank.conversations.delete("c1")
    assert bank.datasets.get(made.id) == made
    assert made.examples == EXAMPLES and made.dropped == {"too short": 2}


def test_a_dataset_needs_its_assistants_prompt(bank: Store) -> None:
    bank.assistants.create("shop", "Shop", "exact")
    prompt = bank.prompts.latest("bank")
    with pytest.raises(Conflict, match="belongs to assistant 'bank'"):
        bank.datasets.add("shop", prompt.id, "abc", EXAMPLES, {})
    with pytest.raises(NotFound, match="dataset 3"):
        bank.datasets.get(3)
