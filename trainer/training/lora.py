"""The base model with a LoRA adapter, and the loss of packed rows under it.

Each answer token counts cross-entropy on the approved token, by the example's weight, and forward KL to the teacher, by
the teacher's: prompt distillation (Askell et al. 2021, arXiv:2112.00861, section 2.2; Snell et al. 2022,
arXiv:2209.15189). The teacher's k likeliest tokens are kept, and all others are one bucket.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn import functional
from transformers import AutoModelForCausalLM, PreTrainedModel

from trainer.training.rows import IGNORE, PREFIX, PackedRow, TopK


def load_base(model_dir: Path) -> PreTrainedModel:
    """The base model alone: float32 on CPU, bfloat16 on CUDA. What is computed in is `precision`."""
    cuda = torch.cuda.is_available()
    model = AutoModelForCausalLM.from_pretrained(
        model_dir, dtype=torch.bfloat16 if cuda else torch.float32, attn_implementation="sdpa"
    )
    model.config.use_cache = False
    return model


def load_with_lora(model_dir: Path, rank: int) -> PeftModel:
    """The base model with a fresh adapter on all linear layers (output head excluded); alpha = 2 x rank."""
    model = load_base(model_dir)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, config)


def to_tensors(row: PackedRow) -> dict[str, torch.Tensor]:
    """A row as tensors with a batch dimension of 1; `allowed` is (1, 1, length, length), true where seen."""
    owners = torch.tensor(row.owners)
    shares = (owners[None, :] == PREFIX) | (owners[None, :] == owners[:, None])
    allowed = shares & torch.ones_like(shares).tril()
    return {
        "input_ids": torch.tensor([row.ids]),
        "position_ids": torch.tensor([row.positions]),
        "allowed": allowed[None, None],
        "targets": torch.tensor(row.targets),
        "weights": torch.tensor(row.weights),
        **_teachers(row),
    }


def answer_logits(model: Any, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the model says at every answer position, of shape (answer tokens, vocabulary).

    The output head runs on answer positions alone: a 49k vocabulary over a long prompt would cost as much as
    the layers do.
    """
    dtype = next(model.parameters()).dtype
    blocked = torch.zeros_like(tensors["allowed"], dtype=dtype).masked_fill(
        ~tensors["allowed"], torch.finfo(dtype).min
    )
    logits: torch.Tensor = model(
        input_ids=tensors["input_ids"],
        position_ids=tensors["position_ids"],
        attention_mask=blocked,
        logits_to_keep=_counted(tensors),
    ).logits[0]
    return logits


def mean_loss(model: Any, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """Weighted mean over the answer tokens, in nats: cross-entropy, and divergence from a teacher where one is."""
    counted = _counted(tensors)
    logits = answer_logits(model, tensors)
    weights = tensors["weights"][counted]
    loss = (cross_entropy(logits, tensors["targets"][counted]) * weights).sum()
    total = weights.sum()
    if "teacher_ids" in tensors:
        weights = tensors["teacher_weights"]
        apart = divergence(logits, tensors["teacher_ids"], tensors["teacher_ln_p"])
        loss, total = loss + (apart * weights).sum(), total + weights.sum()
    return loss / total


def _counted(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return (tensors["targets"] != IGNORE).nonzero().squeeze(1)


def _teachers(row: PackedRow) -> dict[str, torch.Tensor]:
    """Ids and ln p (answer tokens, k) with their weights (answer tokens,); nothing for a row without a teacher."""
    k = next((topk.ids.shape[1] for topk in row.teachers if isinstance(topk, TopK)), 0)
    if not k:
        return {}
    ids, ln_p, weights = [], [], []
    for entry in row.teachers:
        if isinstance(entry, TopK):
            ids.append(torch.from_numpy(entry.ids).long())
            ln_p.append(torch.from_numpy(entry.ln_p))
            weights.append(torch.full((len(entry.ids),), entry.weight))
        else:
            ids.append(torch.zeros(entry, k, dtype=torch.long))
            ln_p.append(torch.full((entry, k), -20.0))  # any finite value: it is weighted with 0
            weights.append(torch.zeros(entry))
    return {
        "teacher_ids": torch.cat(ids),
        "teacher_ln_p": torch.cat(ln_p),
        "teacher_weights": torch.cat(weights),
    }


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
