"""Activate, reject, roll back: one active deployment, and always a way to the one before."""

import threading
from functools import partial

import pytest
from store_scene import at_once

from store import Store
from store.errors import Conflict
from store.records import Deployment, Segment, SegmentKind


@pytest.fixture
def bank(bank: Store) -> Store:
    bank.prompts.add("bank", [Segment("s1", SegmentKind.INSTRUCTION, text="Be brief.")])
    return bank


def candidate(store: Store) -> Deployment:
    return store.deployments.add("bank", store.prompts.latest("bank").id, None, ("s1",), 0, prompt_tokens=5)


def test_a_deployment_keeps_only_segments_of_its_own_prompt(bank: Store) -> None:
    prompt = bank.prompts.latest("bank")
    bank.assistants.create("shop", "Shop", "exact")
    with pytest.raises(Conflict, match="no segment 'x'"):
        bank.deployments.add("bank", prompt.id, None, segment_ids=("s1", "x"), variant=0, prompt_tokens=5)
    with pytest.raises(Conflict, match="belongs to assistant 'bank'"):
        bank.deployments.add("shop", prompt.id, None, segment_ids=(), variant=0, prompt_tokens=5)
    with pytest.raises(Conflict, match="FOREIGN KEY"):
        bank.deployments.add("bank", prompt.id, None, segment_ids=(), variant=0, prompt_tokens=5, run_id=4)


def test_of_two_trainers_that_saw_the_same_active_one_only_one_wins(bank: Store) -> None:
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

    at_once(*(partial(swap, id) for id in rivals))
    winners = [outcome for outcome in outcomes if isinstance(outcome, int)]
    active = bank.deployments.active("bank")
    assert len(outcomes) == 4 and active is not None and winners == [active.id]
    assert bank.maintenance.check() == []
