"""The store: one SQLite file, and a repository for each kind of thing that it holds."""

import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self, TypeVar

from store.accounts import Sessions, Users
from store.answers import Answers
from store.api_clients import ApiFiles, ApiJobs, ApiKeys
from store.assistants import Assistants, Prompts, RedactionRules
from store.audit import Audits
from store.connection import Clock, DataFile, NewId
from store.conversations import Conversations, Messages
from store.datasets import Datasets, Splits, TeacherAnswers
from store.decisions import Decisions, JudgementRequests
from store.demonstrations import Demonstrations
from store.deployments import Adapters, Deployments
from store.erasure import Erasures
from store.group_commit import GroupCommit
from store.io.transfer import Transfer
from store.maintenance import Maintenance
from store.ratings import Ratings
from store.reviews import Reviews
from store.runs import GateAnswers, Runs
from store.schema import upgrade
from store.search import Search
from store.threads import Threads

T = TypeVar("T")


class Store:
    """Everything that Shorthand remembers. Any number of threads and processes may use the same file.

    Opening brings an older file up to this version and refuses a newer one. Every change is one transaction
    that is on the disk when the call returns; NotSaved says that nothing was changed.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Clock = time.time,
        new_id: NewId = lambda: uuid.uuid4().hex,
        busy_timeout_s: float = 10.0,
        create: bool = True,
    ) -> None:
        """Open the file. `busy_timeout_s`: how long to wait for a lock. Raises StoreError."""
        file = DataFile(Path(path), busy_timeout_s, create)
        try:
            upgrade(file)
        except BaseException:
            file.close()
            raise
        shared = (file, clock, new_id)
        self._file = file
        self._group_commit = GroupCommit(file)
        self.assistants = Assistants(*shared)
        self.prompts = Prompts(*shared)
        self.conversations = Conversations(*shared)
        self.messages = Messages(*shared)
        self.threads = Threads(*shared)
        self.ratings = Ratings(*shared)
        self.decisions = Decisions(*shared)
        self.reviews = Reviews(*shared)
        self.search = Search(*shared)
        self.answers = Answers(*shared)
        self.judgement_requests = JudgementRequests(*shared)
        self.splits = Splits(*shared)
        self.redaction_rules = RedactionRules(*shared)
        self.datasets = Datasets(*shared)
        self.teacher_answers = TeacherAnswers(*shared)
        self.runs = Runs(*shared)
        self.gate_answers = GateAnswers(*shared)
        self.adapters = Adapters(*shared)
        self.deployments = Deployments(*shared)
        self.demonstrations = Demonstrations(*shared)
        self.users = Users(*shared)
        self.sessions = Sessions(*shared)
        self.api_keys = ApiKeys(*shared)
        self.api_files = ApiFiles(*shared)
        self.api_jobs = ApiJobs(*shared)
        self.audit = Audits(*shared)
        self.erasure = Erasures(*shared)
        self.transfer = Transfer(*shared)
        self.maintenance = Maintenance(*shared)

    def reading(self) -> AbstractContextManager[object]:
        """Let all that a block reads see one state; each reading by itself costs a lock and a look at the file."""
        return self._file.reading()

    def writing(self) -> AbstractContextManager[object]:
        """Save all changes of a block, or none, with one wait for the disk."""
        return self._file.writing()

    def group_commit(self, write: Callable[[], T]) -> T:
        """Return what `write` does once it is saved, with one wait for the disk for all threads that save just now."""
        return self._group_commit.run(write)

    @property
    def path(self) -> Path:
        """The absolute path of the file."""
        return self._file.path

    def close(self) -> None:
        """Close every thread's connection; call it when no thread uses the store any more."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
