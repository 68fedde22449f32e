"""Adapters of random weights, large enough that greedy answers differ from the base model's, and shortened models.

What needs torch runs in a process of its own, so that who serves or swaps them never imports it.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from safetensors.numpy import save_file

from assistant.adapter_files import MANIFEST, make_manifest
from benchmarks.processes import ROOT

app = typer.Typer(pretty_exceptions_enable=False)
RANK = 4
# Standard deviation of B's entries where A is as peft makes it. At 0.02 half of the answers of the 135M model are
# still those of the base model, at 0.2 all of them are noise.
SCALE = 0.06
SCALE_OF_FEW_LAYERS = 0.3  # for a model that was cut to a few: an adapter changes less in each


def names(count: int) -> list[str]:
    return [f"random-{number}" for number in range(1, count + 1)]


def make(model_dir: Path, adapters: Path, count: int, base: str, scale: float = SCALE) -> list[str]:
    """Publish `count` of them; those that are there stay. Raises CalledProcessError."""
    wanted = names(count)
    if not all((adapters / name / MANIFEST).exists() for name in wanted):
        _run("publish", str(model_dir), str(adapters), base, str(count), str(scale))
    return wanted


def cut_model(model_dir: Path, destination: Path, layers: int) -> Path:
    """The model's first layers alone: as real for a server, several times as fast, and its answers are noise."""
    _run("cut", str(model_dir), str(destination), str(layers))
    return destination


def make_small(adapters: Path, count: int, base: str) -> list[str]:
    """Adapters of one layer for a model of width 32, made without torch: for servers that compute nothing."""
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    for seed, name in enumerate(names(count), start=1):
        random = np.random.default_rng(seed)
        shapes = {f"{layer}.lora_A.weight": (RANK, 32), f"{layer}.lora_B.weight": (32, RANK)}
        (adapters / name).mkdir(parents=True, exist_ok=True)
        weights = {key: random.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
        save_file(weights, str(adapters / name / "adapter_model.safetensors"))
        config = json.dumps({"r": RANK, "peft_type": "LORA"})
        (adapters / name / "adapter_config.json").write_text(config)
        (adapters / name / MANIFEST).write_text(make_manifest(adapters / name, name, base).to_json())
    return names(count)


def _run(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.random_adapters", *words], cwd=ROOT, check=True)


@app.command()
def publish(
    model_dir: Path,
    adapters: Path,
    base: Annotated[str, typer.Argument(help="The base model's fingerprint, which the manifest names.")],
    count: Annotated[int, typer.Argument()] = 3,
    scale: Annotated[float, typer.Argument()] = SCALE,
) -> None:
    """Publish random adapters of a model, the same for the same number."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from trainer.training.publish import publish

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


@app.command()
def cut(model_dir: Path, destination: Path, layers: int) -> None:
    """Save a model with its first layers alone, and the same tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_dir, num_hidden_layers=layers, dtype=torch.float32)
    model.save_pretrained(destination)
    for path in model_dir.iterdir():
        if path.suffix != ".safetensors" and not (destination / path.name).exists():
            shutil.copy(path, destination / path.name)


if __name__ == "__main__":
    app()
