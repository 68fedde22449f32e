"""A short trial of each learning rate, on a tiny model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assistant.tokenizer import ChatTokenizer
from store.records import Example, Role, Split
from trainer.learning import sweep
from trainer.learning.finetune import Course, TrainingDiverged
from trainer.learning.rows import dev_rows, train_rows
from trainer.learning.sweep import Trial, choose
from trainer.settings import TrainerSettings

COLOURS = ("red", "green")


def course(model: Path, tokenizer: ChatTokenizer, work: Path, rates: Sequence[float]) -> Course:
    wanted = TrainerSettings(epochs=12, learning_rates=tuple(rates), rank=4, examples_per_step=4)
    examples = [
        Example(f"m{n}", f"c{n}", ((Role.USER, f"colour {n}"),), COLOURS[n % 2], False, Split.TRAIN)
        for n in range(12)
    ]
    rows, ends = train_rows(tokenizer, (), examples, wanted)
    return Course(model, rows, ends, dev_rows(tokenizer, (), examples[:4]), rates[0], wanted, work)


def test_the_rate_with_the_best_dev_loss_is_chosen_and_told(
    tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    told: list[dict[str, Any]] = []
    choice = choose(course(tiny_model, tokenizer, tmp_path, (1e-6, 2e-2)), told.append)
    slow, fast = choice.trials
    assert choice.learning_rate == 2e-2 and choice.steps == 5  # 15 % of 36
    assert fast.dev_loss is not None and slow.dev_loss is not None and fast.dev_loss < slow.dev_loss
    assert [(note["learning_rate"], note["done"], note["total"]) for note in told] == [
        (1e-6, 0, 2),
        (2e-2, 1, 2),
    ]
    assert str(choice).startswith("learning rate 0.02 chosen of 1e-06 (dev loss ")
    assert not (tmp_path / "trials").exists()


def test_a_rate_that_diverges_is_discarded(
    tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    choice = choose(course(tiny_model, tokenizer, tmp_path, (1e30, 1e-2)), lambda _: None)
    assert choice.learning_rate == 1e-2 and choice.trials[0] == Trial(1e30, None)
    assert "1e+30 (diverged)" in str(choice)


def test_rates_that_all_diverge_are_told_with_what_to_try(
    tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    with pytest.raises(TrainingDiverged, match=r"All 2 learning rates diverged.*1e\+30, 1e\+29.*say 1e\+28"):
        choose(course(tiny_model, tokenizer, tmp_path, (1e30, 1e29)), lambda _: None)


def test_a_choice_that_was_made_before_a_kill_stands(
    tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = course(tiny_model, tokenizer, tmp_path, (1e-3, 1e-2))
    monkeypatch.setattr(sweep, "_dev_loss", lambda trial: trial.learning_rate)
    choice = choose(taken, lambda _: None)
    monkeypatch.setattr(sweep, "_dev_loss", lambda _: pytest.fail("tried again"))
    assert choose(taken, lambda _: pytest.fail("tried again")) == choice
    assert choice.learning_rate == 1e-3 and choice.steps == 5


def test_a_trial_takes_the_first_rows_and_leaves_the_course_as_it_is(
    tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, seen = course(tiny_model, tokenizer, tmp_path, (1e-3, 1e-2)), []
    monkeypatch.setattr(sweep, "_dev_loss", lambda trial: float(not seen.append(trial)))
    choose(taken, lambda _: None)
    assert [trial.rows for trial in seen] == [taken.rows[:5]] * 2
    assert [trial.epoch_ends for trial in seen] == [(5,)] * 2
    assert seen[0].work_dir != seen[1].work_dir and replace(seen[0], **vars(taken)) == taken
