"""The teacher's log-probabilities: what the base model with the full prompt says at each token of an answer.

They are kept on disk, so that an example is computed once and not in every retrain.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedModel

from assistant.rendering import render, render_answer
from assistant.tokenizer import ChatTokenizer
from store.records import Example, Segment
from trainer.training.checkpoints import saving_below
from trainer.training.lora import answer_logits, load_base, to_tensors
from trainer.training.rows import Item, TopK, pack

# 32 of 49,152 tokens held 99.6 % of the teacher's probability where it answered the tasks in benchmarks/.
TOP_K = 32
_AT_ONCE = 8


def teacher_log_probabilities(
    model_dir: Path,
    base: str,
    tokenizer: ChatTokenizer,
    segments: Sequence[Segment],
    examples: Sequence[Example],
    kept_in: Path,
    progress: Callable[[int, int], None],
) -> list[TopK]:
    """The teacher's top-k for each example, in order; `progress` gets (done, total). Raises OSError.

    `base` is the model's fingerprint: another model, prompt, question or answer has another key in the file.
    """
    items = [
        Item(render(tokenizer, segments, example.context).ids, render_answer(tokenizer, example.completion))
        for example in examples
    ]
    keys = [_key(base, item) for item in items]
    known = load_file(kept_in) if kept_in.exists() else {}
    missing = [n for n, key in enumerate(keys) if f"{key}.ids" not in known]
    if missing:
        model = load_base(model_dir).eval()
        if torch.cuda.is_available():
            model.cuda()
        for start in range(0, len(missing), _AT_ONCE):
            some = missing[start : start + _AT_ONCE]
            for n, topk in zip(some, _top_k(model, [items[n] for n in some]), strict=True):
                known[f"{keys[n]}.ids"], known[f"{keys[n]}.ln_p"] = topk.ids, topk.ln_p
            progress(min(start + _AT_ONCE, len(missing)), len(missing))
        _write(known, kept_in)
    return [TopK(known[f"{key}.ids"], known[f"{key}.ln_p"]) for key in keys]


@torch.no_grad()
def _top_k(model: PreTrainedModel, items: Sequence[Item]) -> list[TopK]:
    tensors = {name: value.to(model.device) for name, value in to_tensors(pack(items)).items()}
    found = answer_logits(model, tensors).float().log_softmax(-1).topk(TOP_K, dim=-1)
    ids, ln_p = found.indices.cpu().numpy().astype(np.int32), found.values.cpu().numpy()
    ends = np.cumsum([len(item.answer) for item in items])[:-1]
    return [TopK(i, p) for i, p in zip(np.split(ids, ends), np.split(ln_p, ends), strict=True)]


def _key(base: str, item: Item) -> str:
    return hashlib.sha256(f"{base} {TOP_K} {item.request} {item.answer}".encode()).hexdigest()[:32]


def _write(known: dict[str, np.ndarray], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with saving_below(path.parent):
        save_file(known, partial)
    os.replace(partial, path)
