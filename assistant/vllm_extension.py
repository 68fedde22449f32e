"""Replaces vLLM's adapter arithmetic on CPU, so that each adapter is computed for its own rows alone.

vLLM loads it with `--worker-extension-cls assistant.vllm_extension.Extension`; nothing of ours imports it.

vLLM 0.32 gathers the weights of row -1, “no adapter”, from the last slot, so that a base-model request beside an
adapter's is answered with whatever adapter has that slot (vllm-project/vllm pull requests 48421 and 49656, both open in
November 2026). Unloading frees no slot: after as many loads as there are slots every batch is wrong. It also copies an
adapter's weights once for every token, which made 100 tokens of a prompt cost a second. Here each adapter is two matrix
products over its rows; every swap checks that base-model requests stay the base model's (trainer/deployment/swap.py).
To be deleted with the first vLLM that has one of those changes and is as fast.
"""

from functools import partialmethod
from typing import Any

import torch
from vllm.distributed.device_communicators.shm_broadcast import MessageQueue
from vllm.lora.punica_wrapper import punica_cpu

# Of one adapter: its slot, and its rows as a slice where they follow each other, which needs no copy.
Group = tuple[int, slice | torch.Tensor]


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
    """vLLM's wrapper with other products in adapted layers; stacked weights have the shape (slots, 1, out, in)."""

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        """Once a batch."""
        super().update_metadata(*args, **kwargs)
        self._groups = groups(self.token_lora_indices)
        self._sampled = groups(self.sampler_indices)

    def add_shrink(
        self, y: Any, x: torch.Tensor, lora_a_stacked: tuple[torch.Tensor, ...], scale: float, **kwargs: Any
    ) -> None:
        """y[i] = x A_i^T · scale, where y[i] is (rows, rank) and zero before."""
        x = x.view(-1, x.shape[-1])
        for part, a in zip(y, lora_a_stacked, strict=True):
            _shrink(part.view(-1, part.shape[-1]), x, a, scale, self._groups)

    def add_expand(
        self,
        y: torch.Tensor,
        x: Any,
        lora_b_stacked: tuple[torch.Tensor, ...],
        output_slices: tuple[int, ...],
        offset_start: int = 0,
        add_inputs: bool = True,
        **kwargs: Any,
    ) -> None:
        """y[:, slice i] += x[i] B_i^T; a row without an adapter stays as it is."""
        y = y.view(-1, y.shape[-1])
        at = offset_start
        for part, b, size in zip(x, lora_b_stacked, output_slices, strict=True):
            _expand(y[:, at : at + size], part.view(-1, part.shape[-1]), b, self._groups)
            at += size

    def add_lora_logits(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: torch.Tensor,
        lora_b_stacked: torch.Tensor,
        scale: float,
        *,
        buffer: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        """y += x A^T B^T · scale for the rows that are sampled from."""
        y, x = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
        low = torch.zeros((x.shape[0], lora_b_stacked.shape[-1]), dtype=torch.float32)
        _shrink(low, x, lora_a_stacked, scale, self._sampled)
        _expand(y, low, lora_b_stacked, self._sampled)


def _shrink(y: torch.Tensor, x: torch.Tensor, a: torch.Tensor, scale: float, of: list[Group]) -> None:
    for slot, rows in of:
        weights = a[slot, 0]
        y[rows, : weights.shape[0]] = scale * (x[rows].to(weights.dtype) @ weights.T).to(y.dtype)


def _expand(y: torch.Tensor, x: torch.Tensor, b: torch.Tensor, of: list[Group]) -> None:
    for slot, rows in of:
        weights = b[slot, 0]
        wide = min(
            y.shape[1], weights.shape[0]
        )  # vLLM pads what comes out of an adapter and of a layer unequally
        y[rows, :wide] += (x[rows].to(weights.dtype) @ weights[:wide].T).to(y.dtype)


class Extension:
    """A base class of vLLM's worker; vLLM wants a class, and importing its module is all that is needed."""


# `CpuPlatform.get_punica_wrapper` names the class by this path, and it is looked up after the worker's extension.
punica_cpu.PunicaWrapperCPU = RowsOfAdapters  # type: ignore[misc]
# Ten pieces of 24 MiB do not fit into a container's /dev/shm, of 64 MiB; what is larger goes through a socket.
MessageQueue.__init__ = partialmethod(MessageQueue.__init__, max_chunk_bytes=1 << 20)  # type: ignore[assignment]
