"""What the server cannot take as an adapter: every weight trained, or a rank too high, served as a model of its own.

In: a course, or a trained model. Out: the trained model, and an app that serves it. Place in the flow: `trial` compares
it with adapters. The product does neither: a model cannot be swapped into a running server.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peft import PeftModel
from safetensors.torch import load_model
from transformers import set_seed

from benchmarks.servers.app_process import AppProcess
from benchmarks.tasks.serving import Serving
from benchmarks.tasks.task import Task
from store import Store
from trainer.learning.finetune import Course, Progress, Trained, step_through
from trainer.learning.lora import load_base

_WEIGHTS = "model.safetensors"


def train_all(course: Course, progress: Progress) -> Trained:
    """Every weight of the base model, on the same rows in the same order; raises TrainingDiverged."""
    set_seed(course.settings.seed)
    model = load_base(course.model_dir)
    return step_through(course, model, lambda best: load_model(model, best / _WEIGHTS), progress)


@contextmanager
def served(model: Any, like: Path, directory: Path, task: Task) -> Iterator[Serving]:
    """An app that serves the model, its adapter merged into it; `like` is the directory of the base model.

    `directory` is emptied before and after. Raises AppFailed.
    """
    shutil.rmtree(directory, ignore_errors=True)
    weights = directory / "model"
    shutil.copytree(like, weights, ignore=shutil.ignore_patterns("*.safetensors*"))
    whole = model.merge_and_unload() if isinstance(model, PeftModel) else model
    whole.save_pretrained(weights)
    data = directory / "data"
    try:
        with AppProcess(data, "--no-trainer", "--model", str(weights)) as running:
            running.wait_for_page()
            running.wait_for_model()
            with Store(data / "shorthand.sqlite") as store:
                serving = Serving(data, store)
                serving.create_assistant(task, task.id)
                yield serving
    finally:
        shutil.rmtree(directory, ignore_errors=True)
