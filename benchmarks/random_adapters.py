"""Adapters that nobody trained: random weights, large enough that greedy answers differ from the base model's.

In: a model directory, names, a seed, a scale. Out: published adapter directories, the same bytes for the same seed.
Run as a process, `python -m benchmarks.random_adapters`, so that who serves or swaps them never imports torch. Place
in the flow: under `swaps`, `mixed_batches`, `chaos` and `soak`. Does not know what is asked of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from safetensors.numpy import save_file

from assistant.adapter_files import MANIFEST, make_manifest
from benchmarks.servers.app_process import ROOT

RANK = 4
# Standard deviation of B's entries where A is as peft makes it. At 0.02 half of the answers of the 135M model are
# still those of the base model, at 0.2 all of them are noise.
SCALE = 0.06
SCALE_OF_FEW_LAYERS = 0.3  # for a model that was cut to a few: an adapter changes less in each
_PREFIX = "random-"


def names(count: int) -> list[str]:
    return [f"{_PREFIX}{number}" for number in range(1, count + 1)]


def make(model_dir: Path, adapters: Path, count: int, base: str, scale: float = SCALE) -> list[str]:
    """Publish `count` of them, in a process of its own; those that are there stay. Raises CalledProcessError."""
    wanted = names(count)
    if not all((adapters / name / MANIFEST).exists() for name in wanted):
        command = [sys.executable, "-m", "benchmarks.random_adapters", str(model_dir), str(adapters), base]
        subprocess.run([*command, "--count", str(count), "--scale", str(scale)], cwd=ROOT, check=True)
    return wanted


def make_small(adapters: Path, count: int, base: str) -> list[str]:
    """Adapters of one layer for a model of width 32, made without torch: for servers that compute nothing."""
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    for seed, name in enumerate(names(count), start=1):
        chance = np.random.default_rng(seed)
        shapes = {f"{layer}.lora_A.weight": (RANK, 32), f"{layer}.lora_B.weight": (32, RANK)}
        (adapters / name).mkdir(parents=True, exist_ok=True)
        weights = {key: chance.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
        save_file(weights, str(adapters / name / "adapter_model.safetensors"))
        config = json.dumps({"r": RANK, "peft_type": "LORA"})
        (adapters / name / "adapter_config.json").write_text(config)
        (adapters / name / MANIFEST).write_text(make_manifest(adapters / name, name, base).to_json())
    return names(count)


def main(
    model_dir: Path,
    adapters: Path,
    base: Annotated[str, typer.Argument(help="The base model's fingerprint, which the manifest names.")],
    count: Annotated[int, typer.Option(min=1)] = 3,
    scale: Annotated[float, typer.Option(help="Standard deviation of the entries of B.")] = SCALE,
) -> None:
    """Publish random adapters of a model.

    Example: python -m benchmarks.random_adapters data/models/SmolLM2-135M-Instruct /tmp/adapters FINGERPRINT
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from trainer.learning.publish import publish

    adapters.mkdir(parents=True, exist_ok=True)
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped = get_peft_model(model, config)
    for seed, name in enumerate(names(count), start=1):
        generator = torch.Generator().manual_seed(seed)
        for key, weights in wrapped.named_parameters():
            if "lora_" in key:
                deviation = scale if "lora_B" in key else 1 / weights.shape[1] ** 0.5
                with torch.no_grad():
                    weights.copy_(torch.randn(weights.shape, generator=generator) * deviation)
        if not (adapters / name).exists():
            publish(wrapped, adapters, name, base)


if __name__ == "__main__":
    typer.run(main)
