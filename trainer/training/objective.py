"""Logits, approved tokens and a teacher's likeliest tokens to one number to descend. Pure, but for torch.

In: what the model says at each answer position, and what it should have said. Out: a loss in nats a token. Place
in the flow: under `lora`. Does not know models, prompts or where a teacher's numbers come from.

Each position counts cross-entropy on the approved token, by the example's weight, and forward KL to the teacher, by
the teacher's: prompt distillation (Askell et al. 2021, arXiv:2112.00861, section 2.2; Snell et al. 2022,
arXiv:2209.15189). The teacher's k likeliest tokens are kept, and all others are one bucket.
"""

from __future__ import annotations

import torch
from torch.nn import functional

_TINY = 1e-6  # probability below which the bucket of other tokens is not told from none


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Nats for each position; `logits` (positions, vocabulary), `targets` (positions,)."""
    return functional.cross_entropy(logits.float(), targets, reduction="none")


def divergence(logits: torch.Tensor, teacher_ids: torch.Tensor, teacher_ln_p: torch.Tensor) -> torch.Tensor:
    """KL(teacher || model) in nats for each position; the teacher's tensors are (positions, k)."""
    ln_p = logits.float().log_softmax(-1).gather(1, teacher_ids)
    p = teacher_ln_p.exp()
    others = (1 - p.sum(1)).clamp(min=_TINY)
    own_others = (1 - ln_p.exp().sum(1)).clamp(min=_TINY)
    return (p * (teacher_ln_p - ln_p)).sum(1) + others * (others.log() - own_others.log())
