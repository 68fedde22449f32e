"""Adapter arithmetic on CPU, vLLM's own beside Shorthand's: seconds for all layers, and whether base rows stay base.

In: shapes of SmolLM2-135M, random weights. Out: a table, and JSON with provenance. Both compute the same batches in
turn, in one process; the first answer of each is compared before anything is timed.

    python -m benchmarks.adapter_kernels --out benchmarks/results/adapter_kernels.json
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from vllm.lora.layers import LoRAMapping

from assistant.vllm_extension import RowsOfAdapters
from benchmarks.records import result_file
from benchmarks.records.command import command_line
from benchmarks.records.provenance import provenance
from benchmarks.records.screen import Screen

Upstream = RowsOfAdapters.__base__  # importing ours has put it in the place of vLLM's
_SLOTS, _RANK, _LAYERS = 4, 16, 30
# One layer's adapted matrices: in, and out of each slice (query, key and value are one matrix in vLLM).
_MATRICES = ((576, (576, 192, 192)), (576, (576,)), (576, (1536, 1536)), (1536, (576,)))
# Rows of the batch: how many tokens of a prompt, or how many answers that are written at once.
_BATCHES = (
    ("one answer", 1, False),
    ("8 answers", 8, False),
    ("prompt of 128", 128, True),
    ("of 592", 592, True),
)


def main(
    repeats: Annotated[int, typer.Option(min=3, help="Of each batch.")] = 9,
    seed: Annotated[int, typer.Option(help="Of the weights.")] = 1,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the result.")] = None,
) -> None:
    """Time both on the same batches, in turn.

    Example: python -m benchmarks.adapter_kernels --out benchmarks/results/adapter_kernels.json
    """
    torch.manual_seed(seed)
    layer = [_matrix(wide, parts) for wide, parts in _MATRICES]
    screen = Screen()
    result: dict[str, Any] = {"benchmark": "adapter_kernels", "batches": []}
    for name, rows, prefill in _BATCHES:
        upstream, ours = (_wrapper(kind, [1] * rows, prefill) for kind in (Upstream, RowsOfAdapters))
        gap = max(
            float((a - b).abs().max())
            for a, b in zip(_layer(upstream, layer, rows), _layer(ours, layer, rows), strict=True)
        )
        times: dict[str, list[float]] = {"upstream": [], "ours": []}
        for _ in range(repeats):
            for kind, wrapper in (("upstream", upstream), ("ours", ours)):
                started = time.perf_counter()
                for _ in range(_LAYERS):
                    _layer(wrapper, layer, rows)
                times[kind].append(time.perf_counter() - started)
        ratios = [a / b for a, b in zip(times["upstream"], times["ours"], strict=True)]
        row = {
            "batch": name,
            "rows": rows,
            **{f"{kind}_ms": round(1000 * statistics.median(found), 2) for kind, found in times.items()},
            "ratio": round(statistics.median(ratios), 2),
            "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
            "largest_difference": gap,
        }
        result["batches"].append(row)
        screen.say(
            f"{name}: {row['upstream_ms']} → {row['ours_ms']} ms, {row['ratio']} times as fast "
            f"({row['ratio_range'][0]}-{row['ratio_range'][1]}), results differ by {gap:.1e}"
        )
    # One adapter in the last slot, and rows without any beside it.
    for kind, cls in (("upstream", Upstream), ("ours", RowsOfAdapters)):
        mixed = _wrapper(cls, [_SLOTS, 0, _SLOTS, 0], False)
        base = max(float(y[[1, 3]].abs().max()) for y in _layer(mixed, layer, 4))
        result[f"{kind}_base_rows_changed_by"] = base
        screen.say(
            f"Rows of the base model beside an adapter in the last slot, {kind}: changed by {base:.3g}"
        )
    result["provenance"] = provenance(command_line("benchmarks.adapter_kernels"), seed=seed)
    if out is not None:
        result_file.write(out, result)


Matrix = tuple[int, tuple[int, ...], tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]


def _matrix(wide: int, parts: tuple[int, ...]) -> Matrix:
    a = tuple(torch.randn(_SLOTS, 1, _RANK, wide) / wide**0.5 for _ in parts)
    return wide, parts, a, tuple(torch.randn(_SLOTS, 1, size, _RANK) for size in parts)


def _wrapper(cls: type[Upstream], adapters: list[int], prefill: bool) -> Upstream:
    """`adapters`: whose row it is, 0 for the base model's; adapter n has slot n - 1."""
    wrapper = cls(4096, 64, "cpu")
    mapping = LoRAMapping(tuple(adapters), tuple(adapters), is_prefill=prefill)
    wrapper.update_metadata(mapping, [1, 2, 3, 4], _SLOTS, 49152)
    return wrapper


def _layer(wrapper: Upstream, layer: list[Matrix], rows: int) -> list[torch.Tensor]:
    found = []
    for wide, parts, a, b in layer:
        y = torch.zeros(rows, sum(parts))
        x = torch.linspace(-1, 1, rows * wide).view(rows, wide)
        wrapper.add_lora_linear(y, x, a, b, 1.0, parts)
        found.append(y)
    return found


if __name__ == "__main__":
    typer.run(main)
