"""Privacy rules: kept with who added them, refused when they say nothing or twice the same."""

import pytest

from store import Store
from store.errors import Conflict, NotFound
from store.records import RedactionAction

REPLACE, KEEP = RedactionAction.REPLACE, RedactionAction.KEEP


@pytest.fixture
def bank(store: Store) -> Store:
    store.assistants.create("bank", "Bank", "exact")
    store.assistants.create("shop", "Shop", "exact")
    return store


def test_rules_are_kept_in_order_and_by_assistant(bank: Store) -> None:
    order = bank.redaction_rules.add("bank", REPLACE, "ORD-[0-9]{6}", "ORDER", added_by="ann")
    segment_ids = bank.redaction_rules.add("bank", KEEP, "help@example.com", literal=True)
    other = bank.redaction_rules.add("shop", REPLACE, "ORD-[0-9]{6}", "ORDER")
    assert bank.redaction_rules.all("bank") == [order, segment_ids] and bank.redaction_rules.all("shop") == [
        other
    ]
    assert (order.added_by, order.kind, order.literal) == ("ann", "ORDER", False)
    assert (segment_ids.action, segment_ids.kind, segment_ids.literal) == (KEEP, "", True)
    assert bank.maintenance.stats()["redaction_rules"] == 3 and bank.maintenance.check() == []


def test_a_number_is_never_given_out_again(bank: Store) -> None:
    first = bank.redaction_rules.add("bank", KEEP, "a")
    assert bank.redaction_rules.remove("bank", first.id) == first
    assert bank.redaction_rules.all("bank") == []
    assert bank.redaction_rules.add("bank", KEEP, "a").id > first.id


def test_what_says_nothing_or_twice_the_same_is_refused(bank: Store) -> None:
    rule = bank.redaction_rules.add("bank", KEEP, "a")
    with pytest.raises(Conflict, match=f"has that rule already: it is number {rule.id}"):
        bank.redaction_rules.add("bank", KEEP, "a")
    bank.redaction_rules.add("bank", KEEP, "a", literal=True)
    for action, kind, text in ((REPLACE, "", "x"), (KEEP, "ORDER", "x"), (KEEP, "", "")):
        with pytest.raises(Conflict, match="says nothing"):
            bank.redaction_rules.add("bank", action, text, kind)
    with pytest.raises(NotFound, match="assistant 'none'"):
        bank.redaction_rules.add("none", KEEP, "a")


def test_only_its_own_assistant_removes_a_rule(bank: Store) -> None:
    rule = bank.redaction_rules.add("bank", KEEP, "a")
    with pytest.raises(NotFound, match=f"redaction rule {rule.id} of 'shop'"):
        bank.redaction_rules.remove("shop", rule.id)
    assert bank.redaction_rules.all("bank") == [rule]
