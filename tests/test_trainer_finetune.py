"""Training on a tiny model: it learns, repeats, stops, resumes, and publishes what a server may load."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from file_faults import files_of_at_most
from training_scene import PROMPT, QUICK, examples, train
from transformers import AutoModelForCausalLM, TrainingArguments

from assistant.tokenizer import ChatTokenizer
from store.records import Example, Split
from trainer.evaluation.variants import measure_importance
from trainer.training import finetune as finetuning
from trainer.training.environment import Precision, autocast, native
from trainer.training.finetune import (
    Trained,
    TrainingDiverged,
    TrainingJob,
    finetune,
)
from trainer.training.lora import load_with_lora, mean_loss, to_tensors
from trainer.training.rows import dev_rows, train_rows

Course = Callable[..., Trained]


@pytest.fixture
def course(tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path) -> Course:
    """A short training in a folder of the test's own."""
    return partial(train, tiny_model, tokenizer, work=tmp_path)


def test_the_dev_loss_falls(trained: Trained) -> None:
    assert trained.dev_loss < 0.8 * trained.first_dev_loss
    assert trained.steps == 12 and trained.tokens_per_s > 0


def loss_on(run: Trained, tokenizer: ChatTokenizer, dev: Sequence[Example]) -> float:
    run.model.eval()
    with torch.no_grad(), autocast():
        return fmean(float(mean_loss(run.model, to_tensors(row))) for row in dev_rows(tokenizer, PROMPT, dev))


def test_the_same_seed_gives_the_same_run_and_another_does_not(
    trained: Trained, course: Course, tmp_path: Path
) -> None:
    again, other = course(), course(work=tmp_path / "other", wanted=replace(QUICK, seed=1))
    assert losses(again) == losses(trained) != losses(other)
    assert again.dev_loss == trained.dev_loss and weights(again) == weights(trained)


def test_each_precision_learns_and_they_are_not_the_same(
    tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    rows, ends = train_rows(tokenizer, PROMPT, examples(16), QUICK)
    dev = dev_rows(tokenizer, PROMPT, examples(4, Split.DEV))
    single, half = (
        finetune(TrainingJob(tiny_model, rows, ends, dev, QUICK, tmp_path / p, precision=p), lambda _: None)
        for p in Precision
    )
    assert losses(single) != losses(half)
    assert losses(single)[:3] == pytest.approx(losses(half)[:3], rel=0.02)
    assert half.dev_loss < 0.8 * half.first_dev_loss
    kinds = {weight.dtype for weight in half.model.parameters()}
    assert kinds == {torch.float32}, "only products are rounded"
    assert half.model(torch.tensor([[1, 5, 9]])).logits.dtype is torch.float32
    exact = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with torch.no_grad(), half.model.disable_adapter():
        assert torch.equal(
            half.model(torch.tensor([[1, 5, 9]])).logits, exact(torch.tensor([[1, 5, 9]])).logits
        )


def test_every_step_is_told_with_rate_and_time_left(trained: Trained, course: Course) -> None:
    progress: list[dict[str, Any]] = []
    course(progress=progress)
    steps = [note for note in progress if "loss" in note]
    assert [note["loss"] for note in steps] == losses(trained), "in full, so that a rerun can compare them"
    assert [note["step"] for note in steps] == list(range(1, 13))
    assert all(note["steps"] == 12 and note["tokens_per_s"] > 0 for note in steps)
    assert steps[-1]["eta_s"] == 0


def test_numbers_that_are_none_stop_the_run(course: Course) -> None:
    with pytest.raises(TrainingDiverged, match="step 1.*nan.*[Ll]ower the learning rate"):
        course(spoil=True)


def test_a_gradient_that_is_zero_stops_the_run(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    def detached(model: Any, tensors: Any) -> torch.Tensor:
        return mean_loss(model, tensors).detach() + 0 * sum(
            p.sum() for p in model.parameters() if p.requires_grad
        )

    monkeypatch.setattr(finetuning, "mean_loss", detached)
    with pytest.raises(TrainingDiverged, match="step 1 the gradient is zero.*linear layers"):
        course()


def test_a_dev_loss_that_is_no_number_is_told(
    tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    rows, ends = train_rows(tokenizer, PROMPT, examples(8), QUICK)
    spoilt = [
        replace(row, weights=[float("nan")] * len(row.weights))
        for row in dev_rows(tokenizer, PROMPT, examples(4, Split.DEV))
    ]
    with pytest.raises(TrainingDiverged, match=r"dev losses.*learning rate \(0.02\)"):
        finetune(TrainingJob(tiny_model, rows, ends, spoilt, QUICK, tmp_path), lambda _: None)


LONG = replace(QUICK, epochs=8)
HARD_DEV = [replace(example, completion="account") for example in examples(20, Split.DEV)]


@pytest.fixture(scope="module")
def hard(
    tiny_model: Path, tokenizer: ChatTokenizer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Trained, Path]:
    """A run whose dev answers are not what it trains on, and its work directory."""
    work = tmp_path_factory.mktemp("hard")
    return train(tiny_model, tokenizer, work, LONG, dev=HARD_DEV), work


def test_the_last_epoch_is_served_whatever_dev_says(
    hard: tuple[Trained, Path], tokenizer: ChatTokenizer
) -> None:
    """Its loss often rises while the answers still get better."""
    run, _ = hard
    epochs = [note["eval_loss"] for note in run.log if "eval_loss" in note and note["step"]]
    assert len(epochs) == LONG.epochs and min(epochs) < epochs[-1]
    with finetuning._layers(run.model, native()):
        assert run.dev_loss == epochs[-1] == pytest.approx(loss_on(run, tokenizer, HARD_DEV), abs=1e-4)


def test_a_run_that_was_killed_after_its_last_step_is_not_trained_further(
    hard: tuple[Trained, Path], tiny_model: Path, tokenizer: ChatTokenizer
) -> None:
    run, work = hard
    progress: list[dict[str, Any]] = []
    again = train(tiny_model, tokenizer, work, LONG, progress, dev=HARD_DEV)
    assert not progress and again.steps == run.steps and again.dev_loss == run.dev_loss
    assert again.log == run.log
    assert weights(again) == weights(run)


class Killed(BaseException):
    pass


def killed_at(step: int, course: Course) -> None:
    """Train until a step is told, and no further, as a kill would; what is not on disk is lost."""

    class RunProgress(list[dict[str, Any]]):
        def append(self, note: dict[str, Any]) -> None:
            if note.get("step") == step and "loss" in note:
                raise Killed

    with pytest.raises(Killed):
        course(progress=RunProgress())


@pytest.mark.parametrize(
    ("step", "every_s", "resumed_at"),
    [(7, 60.0, 4), (3, 0.0, 2), (9, 0.0, 8)],
    ids=["epoch", "clock", "both"],
)
def test_a_killed_run_goes_on_from_its_checkpoint_with_the_very_same_losses(
    step: int,
    every_s: float,
    resumed_at: int,
    trained: Trained,
    course: Course,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the end of an epoch, or from where the clock said so."""
    monkeypatch.setattr(finetuning, "_SAVE_EVERY_S", every_s)
    killed_at(step, course)
    progress: list[dict[str, Any]] = []
    resumed = course(progress=progress)
    assert [note["step"] for note in progress if "loss" in note] == list(range(resumed_at + 1, 13))
    assert resumed.resumed_at == resumed_at and resumed.steps == 12
    assert losses(resumed) == losses(trained) and resumed.dev_loss == trained.dev_loss
    assert resumed.first_dev_loss == trained.first_dev_loss
    assert weights(resumed) == weights(trained)


def test_a_checkpoint_that_does_not_fit_on_the_disk_is_told(course: Course) -> None:
    with (
        files_of_at_most(10_000),
        pytest.raises(OSError, match=r"could not be written .* MiB are free there"),
    ):
        course()


def test_a_checkpoint_that_a_kill_cut_short_is_not_used(
    trained: Trained, course: Course, tmp_path: Path
) -> None:
    killed_at(10, course)
    state = tmp_path / "checkpoint-8" / "trainer_state.json"
    state.write_text(state.read_text()[:200])
    resumed = course()
    assert resumed.resumed_at == 4 and losses(resumed) == losses(trained)


def losses(run: Trained) -> list[float]:
    return [note["loss"] for note in run.log if "loss" in note]


def weights(run: Trained) -> list[list[float]]:
    return [p.flatten().tolist() for name, p in run.model.named_parameters() if ".lora_" in name]


def test_activations_that_are_computed_twice_change_no_loss(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a big model does on a GPU, here on CPU, beside what computes attention in the same way."""
    monkeypatch.setattr(finetuning, "_SHORT_ROW", 0)
    once = course(work=tmp_path / "once")
    monkeypatch.setattr(finetuning, "_is_short_of_memory", lambda model: True)
    run = course()
    assert run.model.base_model.model.is_gradient_checkpointing
    assert losses(run) == pytest.approx(losses(once), abs=1e-4)


def test_several_gpus_in_sight_do_not_make_rows_disappear(
    tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trainer would hand the collator a row for each GPU, of which it packs the first."""
    seen = []

    class FourGpus(TrainingArguments):
        def __post_init__(self) -> None:
            super().__post_init__()
            _ = self.device  # decides about the devices
            self._n_gpu = 4
            seen.append(self)

    monkeypatch.setattr(finetuning, "TrainingArguments", FourGpus)
    rows, ends = train_rows(tokenizer, PROMPT, examples(8), QUICK)
    job = TrainingJob(tiny_model, rows, ends, rows[:1], QUICK, tmp_path)
    arguments = finetuning._arguments(job, load_with_lora(tiny_model, 4), len(rows))
    assert seen and arguments.n_gpu == 1 and arguments.train_batch_size == 1


def test_importance_is_the_loss_without_a_segment(trained: Trained, tokenizer: ChatTokenizer) -> None:
    told: list[tuple[int, int]] = []
    found = measure_importance(
        trained.model, tokenizer, PROMPT, examples(4, Split.DEV), lambda *at: told.append(at)
    )
    assert set(found) == {"role"} and abs(found["role"]) < 20 and told == [(1, 2), (2, 2)]
