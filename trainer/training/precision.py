"""The number format of the matrix products in training: float32, or bfloat16 where the processor multiplies it itself.

Weights are what `lora` loads, and the adapter's are float32 on CPU; this sets torch's autocast. A CPU that multiplies
bfloat16 trains 1.5 times as fast with it, to the same dev loss; any other would have
to emulate it. The environment variable SHORTHAND_PRECISION forces either.
"""

from __future__ import annotations

import os
from enum import StrEnum

import torch


class Precision(StrEnum):
    SINGLE = "float32"
    HALF = "bfloat16"


FORCED = "SHORTHAND_PRECISION"
# As torch names what the processor can do.
_PRODUCTS = ("avx512_bf16", "amx_bf16")


def native() -> Precision:
    """The forced precision, or the fastest that this machine computes without emulation."""
    if forced := os.environ.get(FORCED):
        return Precision(forced)
    able = torch.cpu.get_capabilities()
    half = torch.cuda.is_available() or any(able.get(name) for name in _PRODUCTS)
    return Precision.HALF if half else Precision.SINGLE


def autocast() -> torch.autocast:
    """The context that `Trainer` puts around a step, for losses that are measured outside of it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(device, dtype=torch.bfloat16, enabled=native() is Precision.HALF)
