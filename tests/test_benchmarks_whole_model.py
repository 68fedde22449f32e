"""Training every weight, which adapters are compared with: all of them move, and the best come back."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_scene import PROMPT, QUICK, examples
from transformers import AutoModelForCausalLM

from assistant.tokenizer import ChatTokenizer
from benchmarks.records.peak_memory import forget_peak, peak_mib
from benchmarks.tasks.whole_model import train_all
from store.records import Example, Split
from trainer.learning.finetune import Course
from trainer.learning.lora import mean_loss, to_tensors
from trainer.learning.precision import Precision
from trainer.learning.rows import dev_rows, train_rows


def course(tiny_model: Path, tokenizer: ChatTokenizer, work_dir: Path, dev: list[Example]) -> Course:
    settings = replace(QUICK, epochs=6, patience=6)
    rows, ends = train_rows(tokenizer, PROMPT, examples(16), settings)
    held_out = dev_rows(tokenizer, PROMPT, dev)
    return Course(tiny_model, rows, ends, held_out, 5e-2, settings, work_dir, precision=Precision.SINGLE)


def test_every_weight_learns(tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    trained = train_all(course(tiny_model, tokenizer, tmp_path, examples(4, Split.DEV)), lambda _: None)
    before = dict(AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).named_parameters())
    weights = dict(trained.model.named_parameters())
    assert not [name for name in before if torch.equal(weights[name].data, before[name].data)]
    assert trained.dev_loss < 0.8 * trained.first_dev_loss


def test_the_best_weights_come_back(tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path) -> None:
    """Dev answers that nothing trained leads to: the more is learned, the worse they do."""
    dev = [replace(example, completion="seven grey doors") for example in examples(4, Split.DEV)]
    started = course(tiny_model, tokenizer, tmp_path, dev)
    trained = train_all(started, lambda _: None)
    measured = [note["eval_loss"] for note in trained.history if "eval_loss" in note]
    assert trained.dev_loss == min(measured) < 0.9 * measured[-1]
    trained.model.eval()
    with torch.no_grad():
        losses = [float(mean_loss(trained.model, to_tensors(row))) for row in started.dev_rows]
    assert sum(losses) / len(losses) == pytest.approx(trained.dev_loss, abs=1e-4)


def test_the_peak_is_that_since_it_was_forgotten() -> None:
    forget_peak()
    before = peak_mib()
    block = bytearray(b"x") * (200 << 20)
    del block
    assert 190 <= peak_mib() - before < 400
    forget_peak()
    assert peak_mib() - before < 100
