"""What the games against the store share: a store in a folder of its own, closed and opened again in between, and
checked at the end. Each game is a file: `test_store_machine_*.py`.
"""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, rule

from store import Store

GAME = settings(
    max_examples=settings().max_examples // 4,  # each is a store of its own and up to 40 steps
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
PATIENCE = pytest.mark.timeout(4 * 3600 if settings().max_examples > 1000 else 300)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "shorthand.sqlite"
        self.store = Store(self.path)

    def is_done(self, refusal: type[Exception] | None, do: Callable[..., object], *values: object) -> bool:
        """Whether the store does it, as it has to where there is no reason to refuse it."""
        with pytest.raises(refusal) if refusal else nullcontext():
            do(*values)
        return refusal is None

    @rule()
    def close_and_open(self) -> None:
        self.store.close()
        self.store = Store(self.path)

    def teardown(self) -> None:
        try:
            assert self.store.maintenance.check() == []
        finally:
            self.store.close()
            self.folder.cleanup()
