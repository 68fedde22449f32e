"""Turns `--model` into a directory on this machine: a path, a hub id, or the embedded model by default."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

EMBEDDED = "SmolLM2-135M-Instruct"
LONGEST_CONTEXT = 4096  # tokens; enough for every prompt that is worth shortening, and a small cache on CPU


class ModelNotFound(Exception):
    """There is no such model; the message says what was looked for and what to do."""


def resolve(model: str | None, data_dir: Path) -> Path:
    """The directory; converts the embedded model or downloads from the hub the first time."""
    if model is None:
        return _embedded(data_dir / "models" / EMBEDDED)
    path = Path(model)
    if path.is_dir():
        if not (path / "config.json").exists():
            raise ModelNotFound(
                f"{path} holds no config.json, so it is no model directory in the transformers format."
            )
        return path.resolve()
    if path.exists() or model.startswith((".", "/")) or model.count("/") != 1:
        raise ModelNotFound(f"{model!r} is neither a directory nor a hub id such as owner/name.")
    return _download(model)


def context_length(model_dir: Path) -> int:
    """Tokens that a request may hold in all."""
    config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
    longest = config.get("max_position_embeddings") or config.get("text_config", {}).get(
        "max_position_embeddings"
    )
    return min(LONGEST_CONTEXT, int(longest or LONGEST_CONTEXT))


def _download(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(
            snapshot_download(model, ignore_patterns=["*.bin", "*.pth", "*.gguf", "*.onnx", "original/*"])
        )
    except (HfHubHTTPError, OSError) as error:
        raise ModelNotFound(
            f"{model!r} could not be downloaded ({type(error).__name__}). Check the name and the "
            "network, or give a local directory."
        ) from error


def _embedded(destination: Path) -> Path:
    if not destination.exists():
        print("Converting the embedded model, once (about 20 s) ...", flush=True)
        destination.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "assistant.embedded_model", str(destination)],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ModelNotFound(f"The embedded model could not be converted: {last}")
    return destination.resolve()
