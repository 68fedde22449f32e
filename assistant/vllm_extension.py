"""Replaces vLLM's adapter arithmetic on CPU, and steps that it leaves to many small operations there.

vLLM loads it with `--worker-extension-cls assistant.vllm_extension.Extension`; nothing of ours imports it.

vLLM 0.32 gathers the weights of row -1, “no adapter”, from the last slot, so that a base-model request beside an
adapter's is answered with whatever adapter has that slot (vllm-project/vllm pull requests 48421 and 49656, both open in
November 2026). Unloading frees no slot: after as many loads as there are slots every batch is wrong. It also copies an
adapter's weights once for every token, which made 100 tokens of a prompt cost a second. Here each adapter is two matrix
products over its rows in each layer; every swap checks that base-model requests stay the base model's
(trainer/deployment/swap.py).

With adapters vLLM compiles nothing on CPU, so each operation counts: a token of the embedded model took 111 ms alone,
and 49 with this module; without adapters, compiled for two minutes at every start, it takes 41 (two AVX2 cores).
"""

from functools import partialmethod
from itertools import accumulate
from typing import Any

import torch
from vllm.distributed.device_communicators.shm_broadcast import MessageQueue
from vllm.lora.punica_wrapper import punica_cpu
from vllm.model_executor.layers.activation import SiluAndMul
from vllm.model_executor.layers.layernorm import RMSNorm

# Of one adapter: its slot, and its rows as a slice where they follow each other, which needs no copy.
Group = tuple[int, slice | torch.Tensor]
Stacked = tuple[
    torch.Tensor, ...
]  # of each part of a layer (q, k, v), the weights of all slots: (slots, 1, out, in)


def groups(slots: torch.Tensor) -> list[Group]:
    """Rows by slot; `slots` has one number a row (int, shape (rows,)), those below zero belong to no adapter."""
    found: list[Group] = []
    for slot in torch.unique(slots).tolist():
        if slot < 0:
            continue
        rows = torch.nonzero(slots == slot).flatten()
        first, last = int(rows[0]), int(rows[-1])
        together = last - first + 1 == len(rows)
        found.append((slot, slice(first, last + 1) if together else rows))
    return found


class RowsOfAdapters(punica_cpu.PunicaWrapperCPU):
    """vLLM's wrapper with other products in adapted layers."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._joined: dict[tuple[int, int], tuple[int, torch.Tensor, torch.Tensor]] = {}

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        """Once a batch."""
        super().update_metadata(*args, **kwargs)
        self._groups = groups(self.token_lora_indices)
        self._sampled = groups(self.sampler_indices)

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: Stacked,
        lora_b_stacked: Stacked,
        scale: float,
        output_slices: tuple[int, ...],
        **kwargs: Any,
    ) -> None:
        """y[:, slice i] += x A_i^T B_i^T · scale; a row without an adapter stays as it is."""
        for slot, rows in self._groups:
            down, up = self._join(lora_a_stacked, lora_b_stacked, output_slices, slot)
            if isinstance(rows, slice):
                torch.addmm(y[rows], x[rows] @ down, up, alpha=scale, out=y[rows])
            else:
                y[rows] = torch.addmm(y[rows], x[rows] @ down, up, alpha=scale)

    def _join(
        self, a: Stacked, b: Stacked, sizes: tuple[int, ...], slot: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All parts of a layer as one pair of matrices, (in, parts · rank) and (parts · rank, out), of zeros where a
        part has nothing to do with an output. Made again when vLLM has written to any of the weights.
        """
        key, version = (a[0].data_ptr(), slot), sum(one._version for one in a + b)
        if (found := self._joined.get(key)) is None or found[0] != version:
            down = torch.cat([part[slot, 0] for part in a]).T.contiguous()
            up = down.new_zeros((down.shape[1], sum(sizes)))
            for part, own, size, end in zip(b, up.chunk(len(b)), sizes, accumulate(sizes), strict=True):
                own[:, end - size : end] = part[slot, 0, :size].T
            found = self._joined[key] = (version, down, up)
        return found[1:]

    def add_lora_embedding(
        self, y: torch.Tensor, x: torch.Tensor, lora_b_stacked: torch.Tensor, *args: Any, **kwargs: Any
    ) -> None:
        """y += x B^T."""
        for slot, rows in _that_change(lora_b_stacked, self._groups):
            _add(y, rows, x[rows] @ lora_b_stacked[slot, 0].T)

    def add_lora_logits(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: torch.Tensor,
        lora_b_stacked: torch.Tensor,
        scale: float,
        **kwargs: Any,
    ) -> None:
        """y += x A^T B^T · scale for the rows that are sampled from."""
        for slot, rows in _that_change(lora_a_stacked, self._sampled):
            low = scale * (x[rows] @ lora_a_stacked[slot, 0].T)
            _add(y, rows, low @ lora_b_stacked[slot, 0].T)


def _that_change(weights: torch.Tensor, of: list[Group]) -> list[Group]:
    """Hardly any adapter changes the embedding or the head, which are the largest layers."""
    return [(slot, rows) for slot, rows in of if weights[slot].any()]


def _add(y: torch.Tensor, rows: slice | torch.Tensor, change: torch.Tensor) -> None:
    wide = min(y.shape[1], change.shape[1])  # vLLM pads what comes out of an adapter and of a layer unequally
    y[rows, :wide] += change[:, :wide]


@RMSNorm.register_oot
class OneStepNorm(RMSNorm):
    """What vLLM makes for RMSNorm: one operation, which it has for GPUs and, unused, for CPU, instead of eight.

    `forward_cpu` is what a layer does where the server is started with {"custom_ops": ["all"]}.
    """

    def forward_cpu(
        self, x: torch.Tensor, residual: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        weight, eps = self.weight.data, self.variance_epsilon
        is_plain = self.has_weight and self.variance_size_override is None
        if not (is_plain and x.dtype == weight.dtype and _fits_kernel(x, x.shape[-1])):
            return self.forward_native(x, residual)
        if residual is None:
            out = torch.empty_like(x)
            torch.ops._C.rms_norm(out, x, weight, eps)
            return out
        torch.ops._C.fused_add_rms_norm(x, residual, weight, eps)
        return x, residual


@SiluAndMul.register_oot
class OneStepSiluAndMul(SiluAndMul):
    def forward_cpu(self, x: torch.Tensor) -> torch.Tensor:
        half = x.shape[-1] // 2
        if not _fits_kernel(x, half):
            return self.forward_native(x)
        out = x.new_empty((*x.shape[:-1], half))
        torch.ops._C.silu_and_mul(out, x)
        return out


def _fits_kernel(x: torch.Tensor, width: int) -> bool:
    return x.is_contiguous() and width % 8 == 0


class Extension:
    """A base class of vLLM's worker; vLLM wants a class, and importing its module is all that is needed."""


# `CpuPlatform.get_punica_wrapper` names the class by this path, and it is looked up after the worker's extension.
punica_cpu.PunicaWrapperCPU = RowsOfAdapters  # type: ignore[misc]
# Ten pieces of 24 MiB do not fit into a container's /dev/shm, of 64 MiB; what is larger goes through a socket.
MessageQueue.__init__ = partialmethod(MessageQueue.__init__, max_chunk_bytes=1 << 20)  # type: ignore[assignment]
