"""Training layers that are fused say and learn what peft's own do, and leave nothing behind."""

from pathlib import Path

import pytest
import torch
from peft.tuners.lora import Linear
from training_scene import PROMPT, examples

from assistant.tokenizer import ChatTokenizer
from trainer.training.fused import fused_layers
from trainer.training.lora import load_with_lora, mean_loss, to_tensors
from trainer.training.rows import row_of


def test_loss_and_gradients_are_those_of_peft(tiny_model: Path, tokenizer: ChatTokenizer) -> None:
    torch.manual_seed(0)
    model = load_with_lora(tiny_model, 4).train()
    for module in model.modules():
        if isinstance(module, Linear):  # as Qwen's models have it
            bias = torch.randn(module.base_layer.out_features)
            module.base_layer.bias = torch.nn.Parameter(bias, requires_grad=False)
    learned = {name: value for name, value in model.named_parameters() if value.requires_grad}
    for value in learned.values():
        torch.nn.init.normal_(value, std=0.1)  # a fresh adapter changes nothing
    row = to_tensors(row_of(tokenizer, PROMPT, examples(3)))

    def measured() -> tuple[float, dict[str, torch.Tensor]]:
        loss = mean_loss(model, row)
        gradients = torch.autograd.grad(loss, list(learned.values()))
        return loss.item(), dict(zip(learned, gradients, strict=True))

    loss, gradients = measured()
    with fused_layers(model, torch.float32):
        fused_loss, fused_gradients = measured()
    assert fused_loss == pytest.approx(loss, abs=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(fused_gradients[name], gradient, atol=1e-5, rtol=1e-3)
    with fused_layers(model, torch.bfloat16), torch.autocast("cpu", dtype=torch.bfloat16):
        assert measured()[0] == pytest.approx(loss, rel=0.02)
    assert measured()[0] == loss, "afterwards everything is computed as before"
    assert not any("forward" in module.__dict__ for module in model.modules())
