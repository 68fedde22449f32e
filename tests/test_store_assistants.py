"""Assistants, prompt versions, redaction rules, and what text the store refuses."""

import pytest

from store import Store, StoreError
from store.errors import Conflict, NotFound
from store.records import RedactionAction, Segment, SegmentKind

REPLACE, KEEP = RedactionAction.REPLACE, RedactionAction.KEEP
SEGMENTS = (
    Segment("s1", SegmentKind.INSTRUCTION, text="Be brief.", protected=True),
    Segment("s2", SegmentKind.EXAMPLE, user="Grüße?", assistant="Hallo 👋"),
)


def test_assistants_and_prompts_come_back_as_they_were_given(store: Store) -> None:
    made = store.assistants.create("bank", "Bank", "exact", starters=["Card lost?"])
    first = store.prompts.add("bank", SEGMENTS)
    second = store.prompts.add("bank", SEGMENTS[:1])

    assert store.assistants.get("bank") == made and store.assistants.all() == [made]
    assert made.starters == ("Card lost?",)
    assert (first.version, second.version) == (1, 2)
    assert store.prompts.get(first.id).segments == SEGMENTS
    assert store.prompts.latest("bank") == second
    assert store.prompts.all("bank") == [first, second]
    store.assistants.create("shop", "Shop", "exact")
    assert store.prompts.add("shop", SEGMENTS).version == 1, "versions count per assistant"


def test_what_does_not_exist_or_exists_already_is_said(bank: Store) -> None:
    store = bank
    with pytest.raises(Conflict, match="'bank' exists already"):
        store.assistants.create("bank", "Other", "exact")
    with pytest.raises(NotFound, match="assistant 'shop'"):
        store.prompts.add("shop", SEGMENTS)
    with pytest.raises(NotFound, match="prompt 7"):
        store.prompts.get(7)
    with pytest.raises(NotFound, match="prompt of assistant 'bank'"):
        store.prompts.latest("bank")
    with pytest.raises(StoreError, match="'s1' occurs 2 times"):
        store.prompts.add("bank", [SEGMENTS[0], SEGMENTS[0]])


@pytest.mark.parametrize("text", ["cut\x00here", "half \ud83d", "\udc00"])
def test_text_that_would_not_survive_is_refused_everywhere(bank: Store, text: str) -> None:
    conversation = bank.conversations.create("bank")
    with pytest.raises(StoreError, match="Remove or replace that character"):
        bank.conversations.rename(conversation.id, text)
    with pytest.raises(StoreError, match="Remove or replace that character"):
        bank.prompts.add("bank", [Segment("s1", SegmentKind.INSTRUCTION, text=text)])
    assert bank.prompts.all("bank") == [] and bank.conversations.get(conversation.id).title == ""


def test_rules_are_kept_in_order_and_by_assistant(bank: Store) -> None:
    bank.assistants.create("shop", "Shop", "exact")
    order = bank.redaction_rules.add("bank", REPLACE, "ORD-[0-9]{6}", "ORDER", added_by="ann")
    kept = bank.redaction_rules.add("bank", KEEP, "help@example.com", literal=True)
    other = bank.redaction_rules.add("shop", REPLACE, "ORD-[0-9]{6}", "ORDER")
    assert bank.redaction_rules.all("bank") == [order, kept] and bank.redaction_rules.all("shop") == [other]
    assert (order.added_by, order.kind, order.literal) == ("ann", "ORDER", False)
    assert (kept.action, kept.kind, kept.literal) == (KEEP, "", True)
    assert bank.maintenance.stats()["redaction_rules"] == 3 and bank.maintenance.check() == []


def test_only_its_own_assistant_removes_a_rule_whose_number_is_never_given_out_again(bank: Store) -> None:
    first = bank.redaction_rules.add("bank", KEEP, "a")
    with pytest.raises(NotFound, match=f"redaction rule {first.id} of 'shop'"):
        bank.redaction_rules.remove("shop", first.id)
    assert bank.redaction_rules.remove("bank", first.id) == first
    assert bank.redaction_rules.all("bank") == []
    assert bank.redaction_rules.add("bank", KEEP, "a").id > first.id


def test_what_says_nothing_or_twice_the_same_is_refused(bank: Store) -> None:
    rule = bank.redaction_rules.add("bank", KEEP, "a")
    with pytest.raises(Conflict, match=f"has that rule already: it is number {rule.id}"):
        bank.redaction_rules.add("bank", KEEP, "a")
    bank.redaction_rules.add("bank", KEEP, "a", literal=True)
    for action, kind, text in ((REPLACE, "", "x"), (KEEP, "ORDER", "x"), (KEEP, "", "")):
        with pytest.raises(Conflict, match="CHECK constraint failed"):
            bank.redaction_rules.add("bank", action, text, kind)
    with pytest.raises(NotFound, match="assistant 'none'"):
        bank.redaction_rules.add("none", KEEP, "a")
