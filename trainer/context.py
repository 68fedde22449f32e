"""What a training run works with: store, servers, model and settings, opened once, and the record of its progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assistant.adapter_files import fingerprint
from assistant.embedding import Embedder
from assistant.retrieval import Retriever
from assistant.serving import ServerAddress
from assistant.tokenizer import ChatTokenizer
from store import Store
from store.records import Dataset, TrainingRun
from trainer.settings import TrainerSettings
from trainer.training.checkpoints import work_dir

_EVERY_S = 0.5  # a page can show no more


@dataclass(frozen=True)
class TrainingContext:
    """Everything a run needs; `base` is the base model's fingerprint."""

    store: Store
    tokenizer: ChatTokenizer
    address: ServerAddress
    data_dir: Path
    base: str
    retriever: Retriever
    settings: TrainerSettings = field(default_factory=TrainerSettings)

    @classmethod
    def open(cls, store: Store, data_dir: Path, settings: TrainerSettings) -> TrainingContext:
        """Raises NoServer when no app has run in the data directory; TokenizerError or EmbeddingError."""
        address = ServerAddress.read(data_dir)
        model_dir = Path(address.model_dir)
        retriever = Retriever(store, Embedder(Path(address.embedding_model)))
        tokenizer = ChatTokenizer.load(model_dir)
        return cls(store, tokenizer, address, data_dir, fingerprint(model_dir), retriever, settings)

    @property
    def model_dir(self) -> Path:
        return Path(self.address.model_dir)

    @property
    def adapters(self) -> Path:
        return self.data_dir / "adapters"

    def work_dir(self, run: int | str) -> Path:
        return work_dir(self.data_dir, run)


@dataclass(frozen=True)
class Retrain:
    """A run under way, from its frozen dataset on. `unrated` are questions that nobody rated, none of its gate."""

    context: TrainingContext
    run: TrainingRun
    dataset: Dataset
    progress: RunProgress
    unrated: Sequence[str] = ()

    @property
    def store(self) -> Store:
        return self.context.store


class RunProgress:
    """Events of one run; `seconds` is how long each timed phase took."""

    def __init__(self, store: Store, run_id: int):
        self._store = store
        self._run_id = run_id
        self._last = 0.0
        self.seconds: dict[str, float] = {}

    def record(self, phase: str, **data: Any) -> None:
        """Write an event now."""
        self._last = time.monotonic()
        self._store.runs.add_event(self._run_id, phase, data)

    def update(self, phase: str, **data: Any) -> None:
        """Write an event unless one was written in the last half second: for counters."""
        if time.monotonic() - self._last >= _EVERY_S:
            self.record(phase, **data)

    def counter(self, phase: str) -> Callable[[int, int], None]:
        """A function of (done, total) that updates the phase."""
        return lambda done, total: self.update(phase, done=done, total=total)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[phase] = round(time.monotonic() - started, 2)
