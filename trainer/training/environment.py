"""What a run is computed with: number format, versions, device, threads, processes and base model.

The matrix products are computed in bfloat16 where the processor multiplies it itself, else in float32: such a CPU
trains 1.5 times as fast with it, to the same dev loss; any other would have to emulate it. Weights are what `lora`
loads; this is torch's autocast. On a CPU the same environment means the same losses to the last bit.
"""

import os
import platform
from collections.abc import Mapping
from enum import StrEnum
from importlib.metadata import version
from typing import Any

import torch

from trainer.training.distributed import world

PHASE = "environment"  # of the run event that keeps the record
_LIBRARIES = ("torch", "transformers", "peft", "accelerate")
_FORCED = "SHORTHAND_PRECISION"  # the environment variable that forces either precision
_PRODUCTS = ("avx512_bf16", "amx_bf16")  # as torch names what the processor can do


class Precision(StrEnum):
    SINGLE = "float32"
    HALF = "bfloat16"


def native() -> Precision:
    """The forced precision, or the fastest that this machine computes without emulation."""
    if forced := os.environ.get(_FORCED):
        return Precision(forced)
    able = torch.cpu.get_capabilities()
    half = torch.cuda.is_available() or any(able.get(name) for name in _PRODUCTS)
    return Precision.HALF if half else Precision.SINGLE


def autocast() -> torch.autocast:
    """The context that `Trainer` puts around a step, for losses that are measured outside of it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(device, dtype=torch.bfloat16, enabled=native() is Precision.HALF)


def environment(base: str) -> dict[str, Any]:
    """`base` is the base model's fingerprint."""
    return {
        "base": base,
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "precision": str(native()),
        "threads": torch.get_num_threads(),
        "processes": world(),
    }


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Each as “torch was 2.13.0, now it is 2.14.0”."""
    return [
        f"{name} was {recorded.get(name, 'not recorded')}, now it is {now.get(name, 'not recorded')}"
        for name in [*now, *(recorded.keys() - now.keys())]
        if recorded.get(name) != now.get(name)
    ]
