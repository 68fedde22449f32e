"""The adapter on its model, and packed rows whose losses are those of separate ones."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Gemma3Config, GPT2Config, LlamaConfig, PreTrainedConfig

from trainer.settings import TrainerSettings
from trainer.training import lora
from trainer.training.lora import answer_logits, cross_entropy, learning_rate, load_with_lora, to_tensors
from trainer.training.rows import IGNORE, PREFIX, Item, PackedRow, pack


def test_a_fresh_adapter_changes_nothing(tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    ids = torch.tensor([[1, 5, 9, 200]])
    with torch.no_grad():
        assert torch.allclose(base(ids).logits, load_with_lora(tiny_model, 4)(ids).logits, atol=1e-6)


def test_every_linear_layer_but_the_head_takes_the_adapter(tiny_model: Path) -> None:
    names = {
        name.split(".lora_")[0]
        for name, _ in load_with_lora(tiny_model, 4).named_parameters()
        if ".lora_" in name
    }
    assert len(names) == 2 * 7 and not any("lm_head" in name for name in names)


def token_losses(model: Any, row: PackedRow) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy and weight of every answer token."""
    tensors = to_tensors(row)
    counted = tensors["targets"] != IGNORE
    return cross_entropy(answer_logits(model, tensors), tensors["targets"][counted]), tensors["weights"][
        counted
    ]


TOKENS = st.lists(st.integers(4, 300), min_size=1, max_size=6).map(tuple)


@settings(deadline=None, max_examples=25)
@given(
    prefix=TOKENS,
    tails=st.lists(st.tuples(TOKENS, TOKENS, st.sampled_from([1.0, 1.5])), min_size=1, max_size=4),
)
def test_a_packed_row_gives_the_losses_of_separate_rows(
    tiny_model: Path, prefix: tuple[int, ...], tails: list[tuple[tuple[int, ...], tuple[int, ...], float]]
) -> None:
    model = fresh(tiny_model)
    items = [Item(prefix + request, answer, weight) for request, answer, weight in tails]
    with torch.no_grad():
        together, weights = token_losses(model, pack(items))
        apart = [token_losses(model, pack([item])) for item in items]
    assert torch.allclose(together, torch.cat([losses for losses, _ in apart]), atol=1e-4)
    assert torch.equal(weights, torch.cat([weight for _, weight in apart]))


def test_long_examples_with_little_in_common_are_read_one_at_a_time_and_say_the_same(
    tiny_model: Path,
) -> None:
    model = load_with_lora(tiny_model, 4).eval()
    width = model.config.hidden_size
    long = to_tensors(pack([Item((1, *range(first, first + 200)), (7, 8, 9)) for first in range(4, 100, 16)]))
    assert lora._is_cheaper_apart(long["owners"], width)
    with torch.no_grad():
        assert torch.allclose(answer_logits(model, long), lora._together(model, long), atol=1e-5)
    short = to_tensors(pack([Item((*range(4, 300), n), (7, 8, 9)) for n in range(8)]))
    assert not lora._is_cheaper_apart(short["owners"], width)


_FRESH: dict[Path, Any] = {}


def fresh(model_dir: Path) -> Any:
    """An untrained model, loaded once; nobody may train it."""
    if model_dir not in _FRESH:
        _FRESH[model_dir] = load_with_lora(model_dir, 4).eval()
    return _FRESH[model_dir]


def test_every_answer_token_is_a_target_and_nothing_else_is() -> None:
    row: PackedRow = pack([Item((1, 2, 3), (8, 9)), Item((1, 2, 4, 5), (7,), 1.5)])
    assert [target for target in row.targets if target != IGNORE] == [8, 9, 7]
    assert [weight for weight in row.weights if weight] == [1.0, 1.0, 1.5]
    assert row.ids == [1, 2, 3, 8, 4, 5] and row.positions == [0, 1, 2, 3, 2, 3]


def test_answers_within_the_request_are_targets_too_and_are_never_shared() -> None:
    row = pack([Item((1, 2, 8, 9, 3), (7,), earlier=[range(2, 4)]), Item((1, 2, 8, 9, 4), (6,))])
    assert row.ids == [1, 2, 8, 9, 3, 2, 8, 9, 4] and row.owners == [PREFIX, 0, 0, 0, 0, 1, 1, 1, 1]
    assert [target for target in row.targets if target != IGNORE] == [8, 9, 7, 6]


@pytest.mark.parametrize(
    ("config", "rate"),
    [
        (LlamaConfig(hidden_size=576), 2e-3),
        (LlamaConfig(hidden_size=4096), 4.3e-4),
        (GPT2Config(n_embd=768), 1.6e-3),  # another name for the width
        (Gemma3Config(text_config={"hidden_size": 1152}), 1.15e-3),  # within what reads pictures
    ],
)
def test_wider_models_learn_at_a_lower_rate_unless_one_is_set(config: PreTrainedConfig, rate: float) -> None:
    assert learning_rate(TrainerSettings(), config) == pytest.approx(rate, rel=0.02)
    assert learning_rate(TrainerSettings(learning_rate=1e-4), config) == 1e-4
