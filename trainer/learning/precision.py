"""The machine to the precision that training computes in.

In: nothing. Out: a word, and the context that computes so. Place in the flow: under `finetune`, `dpo`, `helpfulness`
and `environment`. Does not know what is computed.

Weights are what `lora` loads, and the adapter's are float32 on CPU: this is about the products between them, whose
precision torch's autocast sets. A CPU that multiplies bfloat16 itself trains 1.5 times as fast with it, to the same
dev loss; one that does not would have to emulate it.
"""

from __future__ import annotations

from enum import StrEnum

import torch


class Precision(StrEnum):
    SINGLE = "float32"
    HALF = "bfloat16"


# As torch names what the processor can do.
_PRODUCTS = ("avx512_bf16", "amx_bf16")


def native() -> Precision:
    """The fastest that this machine computes without emulation."""
    able = torch.cpu.get_capabilities()
    half = torch.cuda.is_available() or any(able.get(name) for name in _PRODUCTS)
    return Precision.HALF if half else Precision.SINGLE


def autocast() -> torch.autocast:
    """What Trainer puts around a step, for losses that are measured outside of it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(device, dtype=torch.bfloat16, enabled=native() is Precision.HALF)
