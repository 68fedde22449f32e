"""A model directory to one with its first layers alone: as real for a server, and several times as fast.

In: a model directory, a number of layers. Out: another one, with the same tokenizer. Run as a process, so that who
serves it never imports torch. Its answers are noise, but always the same noise. Place in the flow: under
`own_server`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.servers.app_process import ROOT


def cut(model_dir: Path, destination: Path, layers: int) -> Path:
    """Raises CalledProcessError."""
    words = [str(model_dir), str(destination), str(layers)]
    subprocess.run([sys.executable, "-m", "benchmarks.servers.cut_model", *words], cwd=ROOT, check=True)
    return destination


def _write(model_dir: Path, destination: Path, layers: int) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_dir, num_hidden_layers=layers, dtype=torch.float32)
    model.save_pretrained(destination)
    for path in model_dir.iterdir():
        if path.suffix != ".safetensors" and not (destination / path.name).exists():
            shutil.copy(path, destination / path.name)


if __name__ == "__main__":
    _write(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
