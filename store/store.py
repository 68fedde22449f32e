"""The store: one object with every question and every change that the product needs.

In: a path. Out: `store.ratings.add(...)`, `store.deployments.active(...)` and the rest, each kept in the part that is named
after its noun. Any number of threads and processes may use the same file.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from store.adapters import Adapters
from store.answers import Answers
from store.assistants import Assistants
from store.audit import Audits
from store.connection import DataFile
from store.datasets import Datasets
from store.decisions import Decisions
from store.erasure import Erasures
from store.gate_answers import GateAnswers
from store.io.transfer import Transfer
from store.judgement_requests import JudgementRequests
from store.leases import Leases
from store.maintenance import Maintenance
from store.migrations import upgrade
from store.openings import Conversations
from store.ratings import Ratings
from store.redaction_rules import RedactionRules
from store.reviews import Reviews
from store.runs import Runs
from store.savings import Savings
from store.search import Search
from store.served import Served
from store.sessions import Sessions
from store.splits import Splits
from store.users import Users


class Store(
    Assistants,
    Erasures,
    Conversations,
    Ratings,
    Decisions,
    Reviews,
    Answers,
    Served,
    JudgementRequests,
    GateAnswers,
    Splits,
    RedactionRules,
    Datasets,
    Adapters,
    Runs,
    Leases,
    Savings,
    Search,
    Transfer,
    Users,
    Sessions,
    Audits,
    Maintenance,
):
    """Everything that Shorthand remembers, in one SQLite file.

    Opening brings an older file up to this version and refuses a newer one. Every change is one transaction
    that is on the disk when the call returns; NotSaved says that nothing was changed.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
        busy_timeout_s: float = 10.0,
        create: bool = True,
    ) -> None:
        """Open the file. `busy_timeout_s`: how long to wait for a lock. Raises StoreError."""
        super().__init__(DataFile(Path(path), busy_timeout_s, create), clock, new_id)
        try:
            upgrade(self._file)
        except BaseException:
            self._file.close()
            raise

    @property
    def path(self) -> Path:
        """The absolute path of the file."""
        return self._file.path

    def close(self) -> None:
        """Close every thread's connection; call it when no thread uses the store any more."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
