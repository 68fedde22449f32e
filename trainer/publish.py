"""A trained model to an adapter directory that is complete or not there at all.

In: a peft model. Out: `<adapters>/<name>/` with weights, config and, written last, a manifest of hashes. Does
not load it anywhere.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from peft import PeftModel

from assistant.adapter_files import FILES, MANIFEST, Manifest, make_manifest, verify
from assistant.serving import MAX_RANK


def publish(model: PeftModel, adapters: Path, name: str, base: str) -> Manifest:
    """Write aside, sync, verify, rename. Raises BadAdapter, OSError, and FileExistsError for a used name."""
    final = adapters / name
    if final.exists():
        raise FileExistsError(f"{final} exists already; a published adapter is never written again.")
    aside = adapters / f".{name}.part"
    shutil.rmtree(aside, ignore_errors=True)
    model.save_pretrained(str(aside), save_embedding_layers=False)
    for path in aside.iterdir():
        if path.name not in FILES:  # peft adds a model card
            path.unlink()
    manifest = make_manifest(aside, name, base)
    for file in FILES:
        _sync(aside / file)
    (aside / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    _sync(aside / MANIFEST)
    _sync(aside)
    manifest = verify(aside, base, MAX_RANK)
    os.rename(aside, final)
    _sync(adapters)
    return manifest


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
