"""Adapters on CPU: the same as vLLM's own arithmetic where that is right, and nothing for rows without an adapter."""

from collections.abc import Sequence

import pytest
import torch
from vllm.config import CompilationConfig, VllmConfig, set_current_vllm_config
from vllm.lora.layers import LoRAMapping
from vllm.model_executor.layers.activation import SiluAndMul
from vllm.model_executor.layers.layernorm import RMSNorm

from assistant.vllm_extension import OneStepNorm, OneStepSiluAndMul, RowsOfAdapters, groups

UPSTREAM = RowsOfAdapters.__base__  # importing ours has put it in the place of vLLM's

SLOTS, RANK, WIDE, PARTS = 3, 4, 8, (6, 2, 2)


@pytest.fixture
def weights() -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    torch.manual_seed(0)
    a = tuple(torch.randn(SLOTS, 1, RANK, WIDE) for _ in PARTS)
    return a, tuple(torch.randn(SLOTS, 1, size, RANK) for size in PARTS)


def computed(
    cls: type[UPSTREAM],
    adapters: Sequence[int],
    prefill: bool,
    weights: tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]],
) -> torch.Tensor:
    """What an adapted layer adds to rows of ones; adapter n is in slot n - 1, 0 is the base model."""
    wrapper = cls(64, 16, "cpu")
    ids = [1, 2, 3]
    wrapper.update_metadata(
        LoRAMapping(tuple(adapters), tuple(adapters), is_prefill=prefill), ids, SLOTS, 100
    )
    torch.manual_seed(1)
    x, y = torch.randn(len(adapters), WIDE), torch.ones(len(adapters), sum(PARTS))
    wrapper.add_lora_linear(y, x, *weights, 0.5, PARTS)
    return y


@pytest.mark.parametrize("prefill", [True, False])
@pytest.mark.parametrize("adapters", [[1], [2, 2, 2], [1, 1, 3, 3, 2], [3, 1, 3, 1]])
def test_rows_of_adapters_are_what_vllm_computes(adapters: list[int], prefill: bool, weights) -> None:
    ours = computed(RowsOfAdapters, adapters, prefill, weights)
    torch.testing.assert_close(ours, computed(UPSTREAM, adapters, prefill, weights))
    assert not torch.equal(ours, torch.ones_like(ours))


@pytest.mark.parametrize("prefill", [True, False])
def test_rows_of_the_base_model_stay_as_they_are_beside_any_adapter(prefill: bool, weights) -> None:
    adapters = [3, 0, 1, 0, 0, 2]
    ours = computed(RowsOfAdapters, adapters, prefill, weights)
    base = [place for place, adapter in enumerate(adapters) if not adapter]
    assert torch.equal(ours[base], torch.ones(len(base), sum(PARTS)))
    others = [place for place, adapter in enumerate(adapters) if adapter]
    upstream = computed(UPSTREAM, adapters, prefill, weights)
    torch.testing.assert_close(ours[others], upstream[others])
    assert not torch.equal(upstream[base], ours[base]), (
        "vLLM has mended it: assistant/vllm_extension.py can go"
    )


def test_what_is_sampled_from_has_rows_of_its_own(weights) -> None:
    (a, *_), (b, *_) = weights
    found = {}
    for cls in (UPSTREAM, RowsOfAdapters):
        wrapper = cls(64, 16, "cpu")
        # Two prompts of three and two tokens; the last of each is sampled from.
        wrapper.update_metadata(LoRAMapping((2, 2, 2, 1, 1), (2, 1), is_prefill=True), [1, 2, 3], SLOTS, 100)
        torch.manual_seed(2)
        found[cls] = torch.zeros(2, PARTS[0])
        wrapper.add_lora_logits(found[cls], torch.randn(2, WIDE), a, b, 2.0)
    torch.testing.assert_close(found[RowsOfAdapters], found[UPSTREAM])


def test_an_adapter_that_is_loaded_in_the_place_of_another_is_what_is_computed(weights) -> None:
    """vLLM writes to the weights of a slot where they stand."""
    wrapper = RowsOfAdapters(64, 16, "cpu")
    wrapper.update_metadata(LoRAMapping((2, 2), (2, 2), is_prefill=False), [1, 2, 3], SLOTS, 100)
    x, found = torch.randn(2, WIDE), []
    for _ in range(2):
        found.append(torch.zeros(2, sum(PARTS)))
        wrapper.add_lora_linear(found[-1], x, *weights, 1.0, PARTS)
        weights[1][2][1] *= 2  # B of the last part
    first, second = (one.split(PARTS, dim=1) for one in found)
    torch.testing.assert_close(second[2], 2 * first[2])
    assert torch.equal(second[0], first[0])


@pytest.mark.parametrize("changes", [True, False])
def test_the_embedding_changes_for_the_rows_of_an_adapter_that_has_one(changes: bool) -> None:
    wrapper = RowsOfAdapters(64, 16, "cpu")
    wrapper.update_metadata(LoRAMapping((0, 2), (0, 2), is_prefill=False), [1, 2, 3], SLOTS, 100)
    b = torch.randn(SLOTS, 1, WIDE, RANK) * changes
    x, y = torch.randn(2, RANK), torch.zeros(2, WIDE)
    wrapper.add_lora_embedding(y, x, b)
    assert not y[0].any()
    torch.testing.assert_close(y[1], b[1, 0] @ x[1])


@pytest.mark.parametrize("residual", [True, False])
def test_vllms_own_kernels_compute_what_its_small_operations_do(residual: bool) -> None:
    torch.manual_seed(3)
    as_started = VllmConfig(compilation_config=CompilationConfig(custom_ops=["all"]))
    with set_current_vllm_config(as_started):
        norm, silu = RMSNorm(WIDE), SiluAndMul()
    assert norm._forward_method == norm.forward_cpu and silu._forward_method == silu.forward_cpu
    assert isinstance(norm, OneStepNorm) and isinstance(silu, OneStepSiluAndMul)
    norm.weight.data = torch.randn(WIDE)
    x, before = torch.randn(5, WIDE), torch.randn(5, WIDE)
    given = (before,) if residual else ()
    expected = norm.forward_native(x.clone(), *(one.clone() for one in given))
    torch.testing.assert_close(norm.forward_cpu(x.clone(), *given), expected)
    strided = torch.randn(WIDE, 5).T  # which the kernel does not read
    torch.testing.assert_close(norm.forward_cpu(strided), norm.forward_native(strided))
    for wide in (2 * WIDE, WIDE):  # of halves of four numbers the kernel reads none
        x = torch.randn(5, wide)
        torch.testing.assert_close(silu.forward_cpu(x), silu.forward_native(x))


def test_rows_that_follow_each_other_are_a_slice() -> None:
    assert groups(torch.tensor([-1, 2, 2, -1])) == [(2, slice(1, 3))]
    assert groups(torch.tensor([-1, -1])) == []
    (slot, rows), (other, run) = groups(torch.tensor([0, 1, 0]))
    assert (slot, rows.tolist(), other, run) == (0, [0, 2], 1, slice(1, 2))


def test_vllm_finds_it_under_the_name_that_it_looks_up() -> None:
    from vllm.platforms.cpu import CpuPlatform
    from vllm.utils.import_utils import resolve_obj_by_qualname

    assert resolve_obj_by_qualname(CpuPlatform.get_punica_wrapper()) is RowsOfAdapters
