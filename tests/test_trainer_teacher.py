"""The teacher's word: its numbers, where they are kept, and what following it does to the loss."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from assistant.tokenizer import ChatTokenizer
from store.records import Example, Role, Segment, SegmentKind, Split
from trainer.training import teacher as teachers
from trainer.training.lora import (
    answer_logits,
    cross_entropy,
    divergence,
    load_base,
    load_with_lora,
    mean_loss,
    to_tensors,
)
from trainer.training.rows import Item, TopK, pack, row_of
from trainer.training.teacher import TOP_K, teacher_log_probabilities

PROMPT = (Segment("role", SegmentKind.INSTRUCTION, text="Answer with one word."),)


def examples(answers: Sequence[str]) -> list[Example]:
    return [
        Example(f"m{n}", f"c{n}", ((Role.USER, f"colour {n}"),), answer, False, Split.TRAIN)
        for n, answer in enumerate(answers)
    ]


def ask(model: Path, tokenizer: ChatTokenizer, some: Sequence[Example], path: Path) -> list[TopK]:
    return teacher_log_probabilities(model, "base", tokenizer, PROMPT, some, path, lambda done, total: None)


def test_it_says_what_the_base_model_says_under_the_full_prompt(
    tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    some = examples(["red", "green and blue", "yellow"])
    said = ask(tiny_model, tokenizer, some, tmp_path / "t.safetensors")
    model = load_base(tiny_model).eval()
    for example, topk in zip(some, said, strict=True):
        with torch.no_grad():
            alone = answer_logits(model, to_tensors(row_of(tokenizer, PROMPT, [example]))).log_softmax(-1)
        assert topk.ids.shape == topk.ln_p.shape == (len(alone), TOP_K)
        expected = alone.gather(1, torch.from_numpy(topk.ids).long())
        assert np.allclose(topk.ln_p, expected.numpy(), atol=1e-4)
        assert np.allclose(topk.ln_p.max(1), alone.max(1).values.numpy(), atol=1e-4)


def test_an_example_is_computed_once(
    tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "teacher" / "t.safetensors"
    first = ask(tiny_model, tokenizer, examples(["red", "green"]), path)
    asked: list[int] = []
    real = teachers._top_k
    monkeypatch.setattr(
        teachers, "_top_k", lambda model, items: (asked.append(len(items)), real(model, items))[1]
    )
    again = ask(tiny_model, tokenizer, examples(["red", "green", "blue"]), path)
    assert asked == [1]
    assert np.array_equal(first[1].ids, again[1].ids)
    other_model = teacher_log_probabilities(
        tiny_model, "another", tokenizer, PROMPT, examples(["red"]), path, lambda *_: None
    )
    assert asked == [1, 1] and np.array_equal(other_model[0].ids, first[0].ids)


def test_divergence_is_nothing_from_itself_and_kl_otherwise() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0], [0.0, 0.0, 3.0, 0.0]])
    ln_p, ids = logits.log_softmax(-1).topk(2, dim=-1)
    assert divergence(logits, ids, ln_p).tolist() == pytest.approx([0.0, 0.0], abs=1e-5)
    other = torch.tensor([[0.0, 0.0, 0.0, 0.0]])
    p = logits[0].softmax(-1)
    coarse = torch.stack([p[0], p[1], p[2] + p[3]])
    expected = float((coarse * (coarse / torch.tensor([0.25, 0.25, 0.5])).log()).sum())
    assert float(divergence(other, ids[:1], ln_p[:1])) == pytest.approx(expected, abs=1e-5)


def test_divergence_falls_by_descent_also_where_the_teacher_leaves_nothing_to_the_others() -> None:
    logits = torch.zeros(1, 6, requires_grad=True)
    sure = torch.tensor([[0.0, -30.0]])  # ln p: all on the first token
    before = divergence(logits, torch.tensor([[3, 4]]), sure).sum()
    before.backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
    with torch.no_grad():
        after = divergence(logits - logits.grad, torch.tensor([[3, 4]]), sure).sum()
    assert 0 < float(after) < float(before.detach())


def test_a_row_without_a_teacher_is_cross_entropy_alone_and_one_with_it_is_the_weighted_mean(
    tiny_model: Path,
) -> None:
    model = load_with_lora(tiny_model, 4).eval()
    topk = TopK(
        np.array([[5, 6], [7, 8]], dtype=np.int32), np.log([[0.6, 0.3], [0.5, 0.2]]).astype(np.float32), 0.5
    )
    plain, from_teacher = Item((1, 2, 3), (9, 10), 1.5), Item((1, 2, 4), (11, 12), 0.0, topk)
    with torch.no_grad():
        tensors = to_tensors(pack([plain, from_teacher]))
        logits = answer_logits(model, tensors)
        ce = cross_entropy(logits, torch.tensor([9, 10, 11, 12]))
        kl = divergence(logits[2:], torch.from_numpy(topk.ids).long(), torch.from_numpy(topk.ln_p))
        expected = (1.5 * ce[:2].sum() + 0.5 * kl.sum()) / (2 * 1.5 + 2 * 0.5)
        assert float(mean_loss(model, tensors)) == pytest.approx(float(expected), rel=1e-5)
        alone = to_tensors(pack([plain]))
        assert "teacher_ids" not in alone
        assert float(mean_loss(model, alone)) == pytest.approx(
            float(cross_entropy(answer_logits(model, alone), torch.tensor([9, 10])).mean()), rel=1e-5
        )
