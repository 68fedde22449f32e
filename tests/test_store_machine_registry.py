"""Deployments activated, rejected and rolled back in any order: the registry does what a few dictionaries do.

Longer than in CI:

    python -m pytest tests/test_store_machine_registry.py --hypothesis-profile long
"""

from collections import defaultdict

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, initialize, invariant, multiple, rule

from store.errors import Conflict
from store.records import DeploymentStatus, Segment, SegmentKind
from tests.store_machine import GAME, PATIENCE, StoreMachine


class Registry(StoreMachine):
    """What serves two assistants, and what it replaced."""

    deployments = Bundle("deployments")
    ASSISTANTS = ("desk", "shop")

    def __init__(self) -> None:
        super().__init__()
        self.prompts: dict[str, int] = {}
        for id in self.ASSISTANTS:
            self.store.assistants.create(id, id, "exact")
            segment = Segment("one", SegmentKind.INSTRUCTION, "Be short.")
            self.prompts[id] = self.store.prompts.add(id, [segment]).id
        self.of: dict[int, str] = {}
        self.status: dict[int, DeploymentStatus] = {}
        self.previous: dict[int, int | None] = {}
        self.active: dict[str, int | None] = dict.fromkeys(self.ASSISTANTS)
        self.served: dict[str, list[int]] = defaultdict(list)
        self.names = 0

    @initialize(target=deployments)
    def begin(self) -> object:
        return multiple(*(self.publish("desk", trained) for trained in (False, True, True)))

    @rule(target=deployments, assistant=st.sampled_from(ASSISTANTS), trained=st.booleans())
    def publish(self, assistant: str, trained: bool) -> int:
        adapter = None
        if trained:
            run = self.store.runs.start(assistant, {}, "test")
            self.names += 1
            adapter = f"{assistant}-{self.names}"
            self.store.adapters.add(adapter, assistant, run.id, f"adapters/{adapter}", "0" * 64)
            with pytest.raises(Conflict):
                self.store.adapters.add(adapter, assistant, run.id, "elsewhere", "1" * 64)
        id = self.store.deployments.add(assistant, self.prompts[assistant], adapter, ["one"], 0, 3).id
        self.of[id], self.status[id] = assistant, DeploymentStatus.CANDIDATE
        return id

    @rule(deployment=deployments)
    def serve(self, deployment: int) -> None:
        refusal = Conflict if self.status[deployment] is DeploymentStatus.REJECTED else None
        if self.is_done(refusal, self.store.deployments.activate, deployment):
            self._serve(deployment)

    @rule(deployment=deployments, saw=st.none() | deployments)
    def serve_if_nothing_changed(self, deployment: int, saw: int | None) -> None:
        stale = saw != self.active[self.of[deployment]]
        refusal = Conflict if stale or self.status[deployment] is DeploymentStatus.REJECTED else None
        if self.is_done(refusal, self.store.deployments.activate, deployment, saw):
            self._serve(deployment)

    def _serve(self, deployment: int) -> None:
        assistant = self.of[deployment]
        before = self.active[assistant]
        if before == deployment:
            return
        if before is not None:
            self.status[before] = DeploymentStatus.RETIRED
        self.previous.setdefault(deployment, before)
        self._now(assistant, deployment)

    def _now(self, assistant: str, deployment: int) -> None:
        self.active[assistant] = deployment
        self.status[deployment] = DeploymentStatus.ACTIVE
        self.served[assistant].append(deployment)

    @rule(deployment=deployments)
    def reject(self, deployment: int) -> None:
        refusal = None if self.status[deployment] is DeploymentStatus.CANDIDATE else Conflict
        if self.is_done(refusal, self.store.deployments.reject, deployment, "worse"):
            self.status[deployment] = DeploymentStatus.REJECTED

    @rule(deployment=deployments)
    def roll_back(self, deployment: int) -> None:
        assistant = self.of[deployment]
        active = self.active[assistant]
        previous = None if active is None else self.previous[active]
        if active is None or previous is None:
            with pytest.raises(Conflict):
                self.store.deployments.rollback(assistant, "worse")
            return
        back = self.store.deployments.rollback(assistant, "worse since then")
        assert (back.id, back.reason) == (previous, "")
        assert self.store.deployments.get(active).reason == "worse since then"
        self.status[active] = DeploymentStatus.RETIRED
        self._now(assistant, previous)

    @invariant()
    def one_serves_each(self) -> None:
        for assistant in self.ASSISTANTS:
            found = self.store.deployments.all(assistant)
            expected = {id: status for id, status in self.status.items() if self.of[id] == assistant}
            assert {one.id: one.status for one in found} == expected
            active = self.store.deployments.active(assistant)
            assert (active and active.id) == self.active[assistant]
            assert [one.status for one in found].count(DeploymentStatus.ACTIVE) == (active is not None)
            activations = self.store.deployments.activations(assistant)
            assert [one.deployment_id for one in activations] == self.served[assistant]


Registry.TestCase.settings = GAME
TestRegistry = Registry.TestCase
pytestmark = PATIENCE
