"""Activate, reject, roll back: one active deployment, and always a way to the one before."""

import threading
from pathlib import Path

import pytest

from store import Store
from store.errors import Conflict
from store.records import Deployment, Segment, SegmentKind


@pytest.fixture
def bank(store: Store) -> Store:
    store.assistants.create("bank", "Bank", "exact")
    store.prompts.add("bank", [Segment("s1", SegmentKind.INSTRUCTION, text="Be brief.")])
    return store


def candidate(store: Store, adapter: str | None = None) -> Deployment:
    prompt = store.prompts.latest("bank")
    return store.deployments.add("bank", prompt.id, adapter, segment_ids=("s1",), variant=0, prompt_tokens=5)


def test_a_deployment_keeps_only_segments_of_its_own_prompt(bank: Store) -> None:
    prompt = bank.prompts.latest("bank")
    bank.assistants.create("shop", "Shop", "exact")
    with pytest.raises(Conflict, match="no segment 'x'"):
        bank.deployments.add("bank", prompt.id, None, segment_ids=("s1", "x"), variant=0, prompt_tokens=5)
    with pytest.raises(Conflict, match="belongs to assistant 'bank'"):
        bank.deployments.add("shop", prompt.id, None, segment_ids=(), variant=0, prompt_tokens=5)
    with pytest.raises(Conflict, match="FOREIGN KEY"):
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
