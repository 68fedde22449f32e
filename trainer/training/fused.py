"""Adapted layers and output head in bfloat16 on a CPU: one step of autograd a layer, and no weight converted twice.

Autocast converts each frozen weight whenever it is used, and peft turns what comes in to float32 and back: an eighth of
a step of the embedded model. The sums are those of peft, rounded once less.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import Linear
from torch.nn import functional


@contextmanager
def fused_layers(model: PeftModel, dtype: torch.dtype) -> Iterator[None]:
    """Within it every adapted linear layer and the head compute in `dtype`, from one copy of their frozen weights."""
    forwards: dict[torch.nn.Module, Callable[[torch.Tensor], torch.Tensor]] = {
        module: partial(_adapted, module, *_frozen(module.base_layer, dtype))
        for module in model.modules()
        if type(module) is Linear and type(module.base_layer) is torch.nn.Linear
    }
    head = model.get_output_embeddings()
    if type(head) is torch.nn.Linear:
        forwards[head] = partial(_linear, *_frozen(head, dtype))
    for module, forward in forwards.items():
        module.__dict__["forward"] = forward
    try:
        yield
    finally:
        for module in forwards:
            del module.__dict__["forward"]  # that of its class again


def _frozen(layer: torch.nn.Linear, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
    weight, bias = layer.weight.detach().to(dtype), layer.bias
    return weight, None if bias is None else bias.detach().to(dtype)


def _linear(weight: torch.Tensor, bias: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
    return functional.linear(x.to(weight.dtype), weight, bias)


def _adapted(layer: Linear, weight: torch.Tensor, bias: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
    name = layer.active_adapters[0]
    down, up, scaling = layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    apply: Callable[..., torch.Tensor] = _AdaptedLinear.apply
    return apply(x, weight, bias, down, up, scaling)


class _AdaptedLinear(torch.autograd.Function):
    """x W' + b + s (x A') B', of which A and B are learned (Hu et al. 2021, arXiv:2106.09685)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1]).to(weight.dtype)
        down, up = down.to(weight.dtype), (up * scaling).to(weight.dtype)
        inner = rows @ down.T
        result = functional.linear(rows, weight, bias).addmm_(inner, up.T)
        ctx.save_for_backward(rows, inner, weight, down, up)
        ctx.shape, ctx.dtype, ctx.scaling = x.shape, x.dtype, scaling
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, inner, weight, down, up = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, weight.shape[0]).to(weight.dtype)
        inner_gradient = gradient @ up
        of_x = (gradient @ weight).addmm_(inner_gradient, down).view(ctx.shape).to(ctx.dtype)
        of_up = (gradient.T @ inner).float() * ctx.scaling
        return of_x, None, None, (inner_gradient.T @ rows).float(), of_up, None
