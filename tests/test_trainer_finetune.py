"""Training on a tiny model: it learns, repeats, stops, resumes, and publishes what a server may load."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.adapter_files import FILES, MANIFEST, BadAdapter, fingerprint, verify
from assistant.tokenizer import ChatTokenizer
from store.records import Example, Role, Segment, SegmentKind, Split
from trainer import finetune as finetuning
from trainer import publish as publishing
from trainer.finetune import Course, Trained, TrainingDiverged, finetune
from trainer.helpfulness import measure_helpfulness
from trainer.lora import NothingToTrain, load_with_lora, mean_loss, to_tensors, token_losses
from trainer.packing import IGNORE, Item, PackedRow, common_prefix, pack
from trainer.publish import publish
from trainer.rows import dev_rows, train_rows
from trainer.settings import TrainerSettings

PROMPT = (
    Segment("role", SegmentKind.INSTRUCTION, text="Answer with one word."),
    Segment("law", SegmentKind.INSTRUCTION, text="Be helpful.", protected=True),
)
COLOURS = ("red", "green", "blue", "yellow")
QUICK = TrainerSettings(epochs=3, learning_rates=(2e-2,), rank=4, examples_per_step=4, patience=3)


def examples(count: int, split: Split = Split.TRAIN) -> list[Example]:
    return [
        Example(f"m{n}", f"c{n}", ((Role.USER, f"colour number {n}"),), COLOURS[n % 2], n % 3 == 0, split)
        for n in range(count)
    ]


def train(
    model: Path,
    tokenizer: ChatTokenizer,
    work: Path,
    wanted: TrainerSettings = QUICK,
    notes: list[dict[str, Any]] | None = None,
    spoil: bool = False,
    dev: Sequence[Example] = (),
) -> Trained:
    rows, ends = train_rows(tokenizer, PROMPT, examples(16), wanted)
    if spoil:  # as a corrupted example would
        rows = [replace(row, weights=[float("nan")] * len(row.weights)) for row in rows]
    measured = dev_rows(tokenizer, PROMPT, dev or examples(4, Split.DEV))
    seen = notes if notes is not None else []
    return finetune(Course(model, rows, ends, measured, wanted.learning_rates[0], wanted, work), seen.append)


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tokenizer: ChatTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(tiny_model, tokenizer, tmp_path_factory.mktemp("work"))


def test_the_dev_loss_falls(trained: Trained) -> None:
    assert trained.dev_loss < 0.8 * trained.first_dev_loss
    assert trained.steps == 12 and trained.tokens_per_s > 0 and not trained.stopped_early


def test_the_best_model_is_the_one_that_comes_back(trained: Trained, tokenizer: ChatTokenizer) -> None:
    trained.model.eval()
    with torch.no_grad():
        losses = [
            float(mean_loss(trained.model, to_tensors(row)))
            for row in dev_rows(tokenizer, PROMPT, examples(4, Split.DEV))
        ]
    assert sum(losses) / len(losses) == pytest.approx(trained.dev_loss, abs=1e-4)
    assert trained.dev_loss == pytest.approx(
        min(note["eval_loss"] for note in trained.history if "eval_loss" in note), abs=1e-4
    )


def test_the_same_seed_gives_the_same_run_and_another_does_not(
    trained: Trained, tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    again = train(tiny_model, tokenizer, tmp_path / "again")
    other = train(tiny_model, tokenizer, tmp_path / "other", replace(QUICK, seed=1))
    assert losses(again) == losses(trained) != losses(other)
    assert again.dev_loss == trained.dev_loss
    for (name, weight), (_, same) in zip(
        again.model.named_parameters(), trained.model.named_parameters(), strict=True
    ):
        assert torch.equal(weight, same), name


def test_every_step_is_told_with_rate_and_time_left(
    trained: Trained, tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    notes: list[dict[str, Any]] = []
    train(tiny_model, tokenizer, tmp_path, notes=notes)
    steps = [note for note in notes if "loss" in note]
    assert [note["loss"] for note in steps] == losses(trained), (
        "told in full, so that a rerun can compare them"
    )
    assert [note["step"] for note in steps] == list(range(1, 13))
    assert all(note["steps"] == 12 and note["tokens_per_s"] > 0 for note in steps)
    assert steps[-1]["eta_s"] == 0


def test_numbers_that_are_none_stop_the_run(
    tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    with pytest.raises(TrainingDiverged, match="step 1.*nan.*[Ll]ower the learning rate"):
        train(tiny_model, tokenizer, tmp_path, spoil=True)


def test_a_gradient_that_is_zero_stops_the_run(
    tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def detached(model: Any, tensors: Any) -> torch.Tensor:
        return mean_loss(model, tensors).detach() + 0 * sum(
            p.sum() for p in model.parameters() if p.requires_grad
        )

    monkeypatch.setattr(finetuning, "mean_loss", detached)
    with pytest.raises(TrainingDiverged, match="step 1 the gradient is zero.*linear layers"):
        train(tiny_model, tokenizer, tmp_path)


def test_a_dev_loss_that_is_no_number_is_told(
    tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    rows, ends = train_rows(tokenizer, PROMPT, examples(8), QUICK)
    spoilt = [
        replace(row, weights=[float("nan")] * len(row.weights))
        for row in dev_rows(tokenizer, PROMPT, examples(4, Split.DEV))
    ]
    with pytest.raises(TrainingDiverged, match=r"dev loss.*learning rate \(0.02\)"):
        finetune(Course(tiny_model, rows, ends, spoilt, 2e-2, QUICK, tmp_path), lambda _: None)


HARD_DEV = [replace(example, completion="account") for example in examples(4, Split.DEV)]
PATIENT = replace(QUICK, epochs=20, patience=2)


@pytest.fixture(scope="module")
def stopped(
    tiny_model: Path, tokenizer: ChatTokenizer, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Trained, Path]:
    """A run whose dev answers are not what it trains on, and its work directory."""
    work = tmp_path_factory.mktemp("stopped")
    return train(tiny_model, tokenizer, work, PATIENT, dev=HARD_DEV), work


def test_training_stops_when_dev_no_longer_improves(stopped: tuple[Trained, Path]) -> None:
    run, _ = stopped
    epochs = [note["eval_loss"] for note in run.history if "eval_loss" in note]
    assert run.stopped_early and run.steps < 80
    assert run.dev_loss == min(epochs) and min(epochs[-2:]) > min(epochs)
    assert run.curve.best_epoch == len(epochs) - 2
    assert run.curve.overfit_from in (len(epochs) - 1, len(epochs))


def test_a_run_that_was_killed_after_its_last_step_is_not_trained_further(
    stopped: tuple[Trained, Path], tiny_model: Path, tokenizer: ChatTokenizer
) -> None:
    run, work = stopped
    notes: list[dict[str, Any]] = []
    again = train(tiny_model, tokenizer, work, PATIENT, notes, dev=HARD_DEV)
    assert not notes and again.steps == run.steps and again.dev_loss == run.dev_loss
    assert again.stopped_early and again.history == run.history
    assert weights(again) == weights(run)


class Killed(BaseException):
    pass


def killed_at(step: int, model: Path, tokenizer: ChatTokenizer, work: Path) -> None:
    """Train until a step is told, and no further, as a kill would; what is not on disk is lost."""

    class Notes(list[dict[str, Any]]):
        def append(self, note: dict[str, Any]) -> None:
            if note.get("step") == step and "loss" in note:
                raise Killed

    with pytest.raises(Killed):
        train(model, tokenizer, work, notes=Notes())


def test_a_killed_run_goes_on_from_its_checkpoint_with_the_very_same_losses(
    trained: Trained, tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    killed_at(7, tiny_model, tokenizer, tmp_path)
    notes: list[dict[str, Any]] = []
    resumed = train(tiny_model, tokenizer, tmp_path, notes=notes)
    assert [note["step"] for note in notes if "loss" in note] == list(range(5, 13))
    assert resumed.resumed_at == 4 and resumed.steps == 12
    assert losses(resumed) == losses(trained) and resumed.dev_loss == trained.dev_loss
    assert resumed.first_dev_loss == trained.first_dev_loss
    assert resumed.curve == trained.curve
    assert weights(resumed) == weights(trained)


@pytest.mark.parametrize("step", [3, 6, 9])
def test_checkpoints_by_the_clock_are_as_good_as_those_at_the_end_of_an_epoch(
    step: int,
    trained: Trained,
    tiny_model: Path,
    tokenizer: ChatTokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finetuning, "_SAVE_EVERY_S", 0.0)
    killed_at(step, tiny_model, tokenizer, tmp_path)
    resumed = train(tiny_model, tokenizer, tmp_path)
    assert resumed.resumed_at == step - 1
    assert losses(resumed) == losses(trained) and resumed.dev_loss == trained.dev_loss
    assert weights(resumed) == weights(trained)


def test_a_checkpoint_that_a_kill_cut_short_is_not_used(
    trained: Trained, tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    killed_at(10, tiny_model, tokenizer, tmp_path)
    state = tmp_path / "checkpoint-8" / "trainer_state.json"
    state.write_text(state.read_text()[:200])
    resumed = train(tiny_model, tokenizer, tmp_path)
    assert resumed.resumed_at == 4 and losses(resumed) == losses(trained)


def losses(run: Trained) -> list[float]:
    return [note["loss"] for note in run.history if "loss" in note]


def weights(run: Trained) -> list[list[float]]:
    return [p.flatten().tolist() for name, p in run.model.named_parameters() if ".lora_" in name]


def test_frozen_layers_take_no_adapter_and_the_others_learn(
    tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    run = train(tiny_model, tokenizer, tmp_path / "work", replace(QUICK, frozen_layers=1))
    names = [name for name, _ in run.model.named_parameters() if ".lora_" in name]
    assert names and all(".layers.1." in name for name in names)
    assert run.dev_loss < run.first_dev_loss
    base = fingerprint(tiny_model)
    publish(run.model, tmp_path, "bank-v0001", base)
    assert verify(tmp_path / "bank-v0001", base, 16).rank == 4


def test_freezing_every_layer_is_refused(tiny_model: Path) -> None:
    with pytest.raises(NothingToTrain, match="frozen_layers is 2, but the model has 2 layers.*1 at most"):
        load_with_lora(tiny_model, 4, frozen_layers=2)


def test_activations_that_are_computed_twice_change_no_loss(
    trained: Trained,
    tiny_model: Path,
    tokenizer: ChatTokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a big model does on a GPU, here on CPU."""
    monkeypatch.setattr(finetuning, "_is_short_of_memory", lambda model: True)
    run = train(tiny_model, tokenizer, tmp_path)
    assert run.model.base_model.model.is_gradient_checkpointing
    assert losses(run) == pytest.approx(losses(trained), abs=1e-4)


def test_several_gpus_in_sight_do_not_make_rows_disappear(
    tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trainer would hand the collator a row for each GPU, of which it packs the first."""
    seen = []

    class FourGpus(finetuning.TrainingArguments):  # type: ignore[misc, name-defined]
        def __post_init__(self) -> None:
            super().__post_init__()
            self.device  # noqa: B018  (decides about the devices)
            self._n_gpu = 4
            seen.append(self)

    monkeypatch.setattr(finetuning, "TrainingArguments", FourGpus)
    rows, ends = train_rows(tokenizer, PROMPT, examples(8), QUICK)
    course = Course(tiny_model, rows, ends, rows[:1], 1e-2, QUICK, tmp_path)
    arguments = finetuning._arguments(course, load_with_lora(tiny_model, 4), len(rows))
    assert seen and arguments.n_gpu == 1 and arguments.train_batch_size == 1


def test_dropout_is_on_while_training_alone(
    trained: Trained, tiny_model: Path, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    run = train(tiny_model, tokenizer, tmp_path, replace(QUICK, dropout=0.3))
    assert losses(run) != losses(trained)
    ids = torch.tensor([[1, 5, 9, 200]])
    run.model.eval()
    with torch.no_grad():
        assert torch.equal(run.model(ids).logits, run.model(ids).logits)


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
        together, weights = token_losses(model, to_tensors(pack(items)))
        apart = [token_losses(model, to_tensors(pack([item]))) for item in items]
    assert torch.allclose(together, torch.cat([losses for losses, _ in apart]), atol=1e-4)
    assert torch.equal(weights, torch.cat([weight for _, weight in apart]))


def test_a_row_gives_the_losses_that_the_plain_model_gives(tiny_model: Path) -> None:
    model = fresh(tiny_model)
    item = Item((1, 5, 9, 40), (77, 78, 2))
    ids = torch.tensor([item.request + item.answer])
    with torch.no_grad():
        losses, _ = token_losses(model, to_tensors(pack([item])))
        plain = torch.log_softmax(model(ids).logits[0], -1)
    expected = [-float(plain[3 + n, token]) for n, token in enumerate(item.answer)]
    assert losses.tolist() == pytest.approx(expected, abs=1e-4)


_FRESH: dict[Path, Any] = {}


def fresh(model_dir: Path) -> Any:
    """An untrained model, loaded once; nobody may train it."""
    if model_dir not in _FRESH:
        _FRESH[model_dir] = load_with_lora(model_dir, 4).eval()
    return _FRESH[model_dir]


@pytest.mark.parametrize(
    ("sequences", "length"),
    [
        ([(1, 2, 3)], 3),
        ([(1, 2, 3), (1, 2, 4)], 2),
        ([(1, 2), (1, 2, 3)], 2),
        ([(1,), (2,)], 0),
        ([(), (1,)], 0),
    ],
)
def test_the_common_prefix(sequences: Sequence[tuple[int, ...]], length: int) -> None:
    assert common_prefix(sequences) == length


def test_every_answer_token_is_a_target_and_nothing_else_is() -> None:
    row: PackedRow = pack([Item((1, 2, 3), (8, 9)), Item((1, 2, 4, 5), (7,), 1.5)])
    assert [target for target in row.targets if target != IGNORE] == [8, 9, 7]
    assert [weight for weight in row.weights if weight] == [1.0, 1.0, 1.5]
    assert row.ids == [1, 2, 3, 8, 4, 5] and row.positions == [0, 1, 2, 3, 2, 3]


def test_helpfulness_is_the_loss_without_a_segment(trained: Trained, tokenizer: ChatTokenizer) -> None:
    told: list[tuple[int, int]] = []
    found = measure_helpfulness(
        trained.model, tokenizer, PROMPT, examples(4, Split.DEV), lambda *at: told.append(at)
    )
    assert set(found) == {"role"} and abs(found["role"]) < 20 and told == [(1, 2), (2, 2)]


def test_a_published_adapter_is_one_that_a_server_may_load(
    trained: Trained, tiny_model: Path, tmp_path: Path
) -> None:
    base = fingerprint(tiny_model)
    manifest = publish(trained.model, tmp_path, "bank-v0001", base)
    assert verify(tmp_path / "bank-v0001", base, 32) == manifest
    assert manifest.rank == 4
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {*FILES, MANIFEST}


def test_what_is_published_gives_the_numbers_of_what_was_trained(
    trained: Trained, tiny_model: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    publish(trained.model, tmp_path, "bank-v0001", "base")
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(base, tmp_path / "bank-v0001")
    ids = torch.tensor([[1, 5, 9, 200]])
    with torch.no_grad():
        assert torch.allclose(loaded(ids).logits, trained.model(ids).logits, atol=1e-4)


def test_a_published_adapter_is_never_written_again(trained: Trained, tmp_path: Path) -> None:
    publish(trained.model, tmp_path, "bank-v0001", "base")
    before = {path.name: path.read_bytes() for path in (tmp_path / "bank-v0001").iterdir()}
    with pytest.raises(FileExistsError, match="never written again"):
        publish(trained.model, tmp_path, "bank-v0001", "base")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "bank-v0001").iterdir()}


def test_a_crash_before_the_rename_leaves_nothing_under_the_name(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(publishing.os, "rename", crash)
        with pytest.raises(OSError, match="No space left"):
            publish(trained.model, tmp_path, "bank-v0001", "base")
    assert not (tmp_path / "bank-v0001").exists()
    publish(trained.model, tmp_path, "bank-v0001", "base")  # what the crash left is no obstacle
    assert sorted(os.listdir(tmp_path)) == ["bank-v0001"]


def test_weights_that_diverged_are_not_published(tiny_model: Path, tmp_path: Path) -> None:
    model = load_with_lora(tiny_model, 4)
    with torch.no_grad():
        next(p for name, p in model.named_parameters() if "lora_B" in name)[0, 0] = float("nan")
    with pytest.raises(BadAdapter, match="NaN"):
        publish(model, tmp_path, "bank-v0001", "base")
    assert not (tmp_path / "bank-v0001").exists()
