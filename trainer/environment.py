"""What a run was computed with (versions, device, threads, processes, base model), and how two of them differ.

On a CPU the same environment means the same losses to the last bit.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

from trainer.training.distributed import world
from trainer.training.precision import native

PHASE = "environment"  # of the run event that keeps the record
_LIBRARIES = ("torch", "transformers", "peft", "accelerate")


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
