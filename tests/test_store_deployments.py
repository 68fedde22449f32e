"""Activate, reject, roll back: one active deployment, and always a way to the one before."""

import threading
from pathlib import Path

import pytest

from store import Store
from store.errors import Conflict, NotFound
from store.records import Deployment, DeploymentStatus, Segment, SegmentKind


@pytest.fixture
def bank(store: Store) -> Store:
    store.assistants.create("bank", "Bank", "exact")
    store.prompts.add("bank", [Segment("s1", SegmentKind.INSTRUCTION, text="Be brief.")])
    return store


def candidate(store: Store, adapter: str | None = None) -> Deployment:
    prompt = store.prompts.latest("bank")
    return store.deployments.add("bank", prompt.id, adapter, segment_ids=("s1",), variant=0, prompt_tokens=5)


def test_activating_retires_the_one_before_and_logs_both(bank: Store) -> None:
    first, second = candidate(bank), candidate(bank, "bank-v0001")
    assert bank.deployments.active("bank") is None and first.status is DeploymentStatus.CANDIDATE

    bank.deployments.activate(first.id, expect_active=None)
    active = bank.deployments.activate(second.id, expect_active=first.id)

    assert bank.deployments.active("bank") == active and active.activated_at is not None
    retired = bank.deployments.get(first.id)
    assert retired.status is DeploymentStatus.RETIRED and retired.reason == f"replaced by {second.id}"
    assert retired.retired_at is not None
    assert [a.deployment_id for a in bank.deployments.activations("bank")] == [first.id, second.id]
    assert [d.id for d in bank.deployments.all("bank")] == [first.id, second.id]


def test_rollback_goes_to_what_was_replaced_not_to_what_failed_meanwhile(bank: Store) -> None:
    d1, d2, d3, d4 = (candidate(bank) for _ in range(4))
    for deployment in (d1, d2, d3):
        bank.deployments.activate(deployment.id)
    assert bank.deployments.rollback("bank", "thumbs down").id == d2.id
    bank.deployments.activate(d4.id)

    assert bank.deployments.rollback("bank", "again").id == d2.id
    assert bank.deployments.get(d4.id).reason == "again"
    assert bank.deployments.active("bank") == bank.deployments.get(d2.id)
    assert bank.deployments.get(d2.id).retired_at is None and bank.deployments.get(d2.id).reason == ""

    assert bank.deployments.rollback("bank", "and again").id == d1.id
    with pytest.raises(Conflict, match=f"deployment {d1.id} replaced none"):
        bank.deployments.rollback("bank", "too far")
    assert bank.deployments.active("bank") == bank.deployments.get(d1.id)
    assert [a.deployment_id for a in bank.deployments.activations("bank")] == [
        d.id for d in (d1, d2, d3, d2, d4, d2, d1)
    ]


def test_only_candidates_are_rejected_and_rejected_ones_are_not_served(bank: Store) -> None:
    bad, good = candidate(bank), candidate(bank)
    with pytest.raises(Conflict, match="no deployment is active"):
        bank.deployments.rollback("bank", "why not")
    assert bank.deployments.reject(bad.id, "worse by 3 points").reason == "worse by 3 points"
    with pytest.raises(Conflict, match="worse by 3 points"):
        bank.deployments.activate(bad.id)
    bank.deployments.activate(good.id)
    with pytest.raises(Conflict, match="is active"):
        bank.deployments.reject(good.id, "no")
    with pytest.raises(NotFound, match="deployment 99"):
        bank.deployments.activate(99)


def test_a_deployment_keeps_only_segments_of_its_own_prompt(bank: Store) -> None:
    prompt = bank.prompts.latest("bank")
    bank.assistants.create("shop", "Shop", "exact")
    with pytest.raises(Conflict, match="no segment 'x'"):
        bank.deployments.add("bank", prompt.id, None, segment_ids=("s1", "x"), variant=0, prompt_tokens=5)
    with pytest.raises(Conflict, match="belongs to assistant 'bank'"):
        bank.deployments.add("shop", prompt.id, None, segment_ids=(), variant=0, prompt_tokens=5)
    with pytest.raises(NotFound, match="run 4"):
        bank.deployments.add("bank", prompt.id, None, segment_ids=(), variant=0, prompt_tokens=5, run_id=4)


def test_of_two_trainers_that_saw_the_same_active_one_only_one_wins(bank: Store, tmp_path: Path) -> None:
    base = bank.deployments.activate(candidate(bank).id)
    rivals = [candidate(bank).id for _ in range(4)]
    start, outcomes = threading.Barrier(len(rivals)), []

    def swap(deployment_id: int) -> None:
        with Store(bank.path) as own:
            start.wait()
            try:
                outcomes.append(own.deployments.activate(deployment_id, expect_active=base.id).id)
            except Conflict as conflict:
                outcomes.append(str(conflict))

    threads = [threading.Thread(target=swap, args=(id,)) for id in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    winners = [outcome for outcome in outcomes if isinstance(outcome, int)]
    active = bank.deployments.active("bank")
    assert len(outcomes) == 4 and active is not None and winners == [active.id]
    assert bank.maintenance.check() == []
