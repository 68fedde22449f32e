"""What a run was computed with: versions, device, threads, processes and the base model.

In: the base model's fingerprint. Out: a plain record, and in words how two of them differ. Place in the flow: noted by
`candidate` when training starts, compared by `rerun` and before a run goes on after a kill. On CPU all of it alike
means losses alike to the last bit.
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
        f"{name} was {recorded.get(name, 'not noted')}, now it is {now.get(name, 'not noted')}"
        for name in [*now, *(recorded.keys() - now.keys())]
        if recorded.get(name) != now.get(name)
    ]


def use_threads(count: int) -> None:
    """Sums over another number of threads round differently."""
    torch.set_num_threads(count)
