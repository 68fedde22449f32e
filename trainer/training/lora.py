"""The base model with a LoRA adapter, and the loss of packed rows under it: cross-entropy on the answers' tokens."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn import functional
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from trainer.training.packing import answer_logits, counted, packs_examples, to_tensors, with_attention

__all__ = ["answer_logits", "load_base", "load_with_lora", "mean_loss", "to_tensors"]


def load_base(model_dir: Path) -> PreTrainedModel:
    """The base model alone: float32 on CPU, bfloat16 on CUDA. What is computed in is `precision`."""
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    model = with_attention(partial(AutoModelForCausalLM.from_pretrained, model_dir, dtype=dtype))
    model.config.packs_examples = packs_examples(model.config)
    model.config.use_cache = False
    return model


def load_with_lora(model_dir: Path, rank: int) -> PeftModel:
    """The base model with a fresh adapter on all linear layers (output head excluded); alpha = 2 x rank."""
    model = load_base(model_dir)
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=adapted_layers(model), task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)


def adapted_layers(model: PreTrainedModel) -> list[str]:
    """The names of the linear layers. Of a model with experts those outside the blocks that hold them: experts are one
    tensor of three dimensions, and peft would adapt it in place of a shared expert, as no server takes it.
    """
    head, linear, blocks = model.get_output_embeddings(), [], set()
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module is not head:
            linear.append(name)
        elif not isinstance(module, torch.nn.Conv1d) and any(
            p.ndim == 3 for p in module.parameters(recurse=False)
        ):
            blocks.add(_block(name))
    return [name for name in linear if _block(name) not in blocks]


def _block(name: str) -> str:
    """Of “model.layers.3.mlp.experts” the “mlp”."""
    return re.sub(r"^.*?\.\d+\.|\..*$", "", name)


def mean_loss(model: Any, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """Weighted mean of the cross-entropy over the answer tokens, in nats."""
    at = counted(tensors["targets"])
    losses = cross_entropy(answer_logits(model, tensors), tensors["targets"][at])
    weights = tensors["weights"][at]
    return (losses * weights).sum() / weights.sum()


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Nats for each position; `logits` (positions, vocabulary), `targets` (positions,)."""
    return functional.cross_entropy(logits.float(), targets, reduction="none")
