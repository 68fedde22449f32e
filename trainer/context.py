"""What a training run works with: the store, the servers, the model and the settings, opened once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from assistant.adapter_files import fingerprint
from assistant.serving import ServerAddress
from assistant.tokenizer import ChatTokenizer
from store import Store
from trainer.settings import TrainerSettings
from trainer.training.checkpoints import work_dir

TEACHER_FILE = "teacher.safetensors"  # in the data directory


@dataclass(frozen=True)
class TrainingContext:
    """Everything a run needs; `base` is the base model's fingerprint."""

    store: Store
    tokenizer: ChatTokenizer
    address: ServerAddress
    data_dir: Path
    base: str
    settings: TrainerSettings = field(default_factory=TrainerSettings)

    @classmethod
    def open(cls, store: Store, data_dir: Path, settings: TrainerSettings) -> TrainingContext:
        """Raises NoServer when no app has run in the data directory, TokenizerError for a bad model."""
        address = ServerAddress.read(data_dir)
        model_dir = Path(address.model_dir)
        return cls(store, ChatTokenizer.load(model_dir), address, data_dir, fingerprint(model_dir), settings)

    @property
    def model_dir(self) -> Path:
        return Path(self.address.model_dir)

    @property
    def adapters(self) -> Path:
        return self.data_dir / "adapters"

    @property
    def teacher_file(self) -> Path:
        """What the teacher thinks of answers, for all runs of this data directory; it may be deleted."""
        return self.data_dir / TEACHER_FILE

    def work_dir(self, run: int | str) -> Path:
        return work_dir(self.data_dir, run)
