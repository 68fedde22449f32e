"""Publishes a trained adapter as a directory that is complete or not there at all."""

import os
import shutil
import uuid
from itertools import chain, count
from pathlib import Path
from typing import Any

from assistant.adapter_files import FILES, MANIFEST, Manifest, make_manifest, verify
from assistant.serving import MAX_RANK
from store import Store
from store.records import TrainingRun
from trainer.training.checkpoints import saving_below


def publish_run(store: Store, run: TrainingRun, model: Any, adapters: Path, base: str) -> str:
    """Publish a run's adapter under the first free name and record it; returns the name. `model` is a peft model.

    Raises BadAdapter, OSError.
    """
    name = free_name(adapters, f"{run.assistant_id}-v{run.id:04d}")
    manifest = publish(model, adapters, name, base)
    store.adapters.add(name, run.assistant_id, run.id, str(adapters / name), manifest.hash)
    store.runs.update(run.id, adapter=name)
    return name


def free_name(adapters: Path, name: str) -> str:
    """`name`, or with a number after it where an earlier attempt of the same run has published already."""
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(candidate for candidate in names if not (adapters / candidate).exists())


def publish(model: Any, adapters: Path, name: str, base: str) -> Manifest:
    """Write aside, sync, verify, rename. Raises BadAdapter, OSError, and FileExistsError for a used name."""
    final = adapters / name
    if final.exists():
        raise FileExistsError(f"{final} exists already; a published adapter is never written again.")
    # What is here was left by a publish that was killed, or by one that sleeps and will find its directory gone.
    for left_behind in adapters.glob(".*.part"):
        shutil.rmtree(left_behind, ignore_errors=True)
    aside = adapters / f".{name}.{uuid.uuid4().hex[:8]}.part"
    try:
        with saving_below(adapters):
            model.save_pretrained(str(aside), save_embedding_layers=False)
        for path in aside.iterdir():
            if path.name not in FILES:  # peft adds a model card
                path.unlink()
        (aside / MANIFEST).write_text(make_manifest(aside, name, base).to_json(), encoding="utf-8")
        for path in (*aside.iterdir(), aside):
            _sync(path)
        manifest = verify(aside, base, MAX_RANK, name)
        os.rename(aside, final)  # never onto a directory that holds something
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)  # on a full disk it is what filled it
        raise
    _sync(adapters)
    return manifest


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
