"""Learning from rejected answers on the tiny model: what reaches it, what it learns, and when that is kept."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training_scene import PROMPT, QUICK, examples

from assistant.adapter_files import fingerprint, verify
from assistant.tokenizer import ChatTokenizer
from store.records import Example, Split
from trainer.learning import preferences
from trainer.learning.dpo import learn_pairs
from trainer.learning.finetune import Course, Trained, finetune
from trainer.learning.lora import load_with_lora, to_tensors, token_losses
from trainer.learning.packing import Item, pack
from trainer.learning.pairs import Pair, make_pairs
from trainer.learning.preferences import PHASE, Preferred
from trainer.learning.publish import publish
from trainer.learning.rows import dev_rows, train_rows
from trainer.settings import TrainerSettings

ON = replace(QUICK, preference=1.0, min_pairs=4, examples_per_step=2)


def corrected(count: int) -> list[Example]:
    """As they are after a person corrected every answer: “blue” was wrong."""
    return [replace(example, corrected=True, rejected="blue") for example in examples(count)]


@pytest.fixture(scope="module")
def pairs(tokenizer: ChatTokenizer) -> list[Pair]:
    return make_pairs(tokenizer, PROMPT, corrected(8), ON)


def margin(model: Any, pairs: list[Pair]) -> float:
    """Mean of ln p(chosen) − ln p(rejected), by this trainer's own rows."""

    def nats(request: tuple[int, ...], answer: tuple[int, ...]) -> float:
        with torch.no_grad():
            return float(token_losses(model, to_tensors(pack([Item(request, answer)])))[0].sum())

    model.eval()
    return sum(nats(p.request, p.rejected) - nats(p.request, p.chosen) for p in pairs) / len(pairs)


def learn(
    model: Any, pairs: list[Pair], work: Path, wanted: TrainerSettings = ON, rate: float = 1e-2
) -> tuple[bool, list[dict[str, Any]]]:
    notes: list[dict[str, Any]] = []
    return learn_pairs(model, pairs, wanted, rate, work, False, notes.append), notes


def test_the_chosen_answers_gain_on_the_rejected_ones(
    tiny_model: Path, pairs: list[Pair], tmp_path: Path
) -> None:
    model = load_with_lora(tiny_model, 4)
    before = margin(model, pairs)
    converged, notes = learn(model, pairs, tmp_path)
    assert converged and [note["step"] for note in notes] == [1, 2, 3, 4] and notes[0]["steps"] == 4
    assert notes[0]["margin"] == pytest.approx(0.0, abs=1e-4), "the reference is the adapter as it came in"
    assert margin(model, pairs) > before + 1.0


def test_the_tokens_that_reach_the_model_are_the_served_ones(
    tiny_model: Path, pairs: list[Pair], tmp_path: Path
) -> None:
    model = load_with_lora(tiny_model, 4)
    seen: set[tuple[int, ...]] = set()

    def record(module: Any, arguments: Any, output: Any) -> None:
        seen.update(tuple(row.tolist()) for row in arguments[0])

    model.get_input_embeddings().register_forward_hook(record)
    odd = [replace(pair, chosen=pair.chosen + (7, 7, 2)) for pair in pairs[:4]]  # so that the other is padded
    learn(model, pairs[4:] + odd, tmp_path)
    expected = {p.request + answer for p in pairs[4:] + odd for answer in (p.chosen, p.rejected)}
    assert {strip(ids, expected) for ids in seen} == expected


def strip(ids: tuple[int, ...], expected: set[tuple[int, ...]]) -> tuple[int, ...]:
    """Without the padding after the end of a known sequence."""
    for length in range(len(ids), 0, -1):
        if ids[:length] in expected and not any(ids[length:]):
            return ids[:length]
    return ids


def test_nothing_but_the_adapters_weights_is_different_afterwards(
    tiny_model: Path, pairs: list[Pair], tmp_path: Path
) -> None:
    model = load_with_lora(tiny_model, 4)
    names = [name for name, _ in model.named_parameters()]
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    base = {name: weight.clone() for name, weight in model.named_parameters() if ".lora_" not in name}
    learn(model, pairs, tmp_path / "work")
    assert [name for name, _ in model.named_parameters()] == names
    assert [name for name, weight in model.named_parameters() if weight.requires_grad] == trained
    assert all(torch.equal(weight, base[n]) for n, weight in model.named_parameters() if n in base)
    assert "forward" not in vars(model.get_base_model()) and list(model.peft_config) == ["default"]
    publish(model, tmp_path, "bank-v0001", fingerprint(tiny_model))
    assert verify(tmp_path / "bank-v0001", fingerprint(tiny_model), 16).rank == 4
    assert not list((tmp_path / "work").glob("checkpoint-*"))


def train(
    model: Path,
    tokenizer: ChatTokenizer,
    work: Path,
    wanted: TrainerSettings = ON,
    progress: Callable[[dict[str, Any]], None] = lambda note: None,
    rate: float = 2e-2,
) -> Trained:
    rows, ends = train_rows(tokenizer, PROMPT, corrected(8), wanted)
    dev = dev_rows(tokenizer, PROMPT, examples(4, Split.DEV))
    pairs = make_pairs(tokenizer, PROMPT, corrected(8), wanted)
    return finetune(Course(model, rows, ends, dev, rate, wanted, work, pairs), progress)


@pytest.fixture(scope="module")
def without(tiny_model: Path, tokenizer: ChatTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(tiny_model, tokenizer, tmp_path_factory.mktemp("off"), replace(ON, preference=0.0))


def weights(run: Trained) -> list[list[float]]:
    return [p.flatten().tolist() for name, p in run.model.named_parameters() if ".lora_" in name]


def losses(run: Trained) -> list[float]:
    return [entry["loss"] for entry in run.history if "loss" in entry]


def judged(monkeypatch: pytest.MonkeyPatch, better: bool) -> None:
    monkeypatch.setattr(preferences, "better", lambda dev_loss, other: better)


def test_what_dev_does_not_gain_from_is_not_kept(
    without: Trained,
    tiny_model: Path,
    tokenizer: ChatTokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged(monkeypatch, False)
    run = train(tiny_model, tokenizer, tmp_path)
    tried = run.preferred
    assert tried is not None and not tried.kept and tried.dev_loss is not None
    assert weights(run) == weights(without) and run.dev_loss == without.dev_loss == tried.supervised_loss
    assert run.steps == without.steps and run.curve == without.curve
    assert f"were not kept (dev loss {tried.supervised_loss:.3f} before, {tried.dev_loss:.3f} after" in str(
        tried
    )


def test_what_dev_gains_from_is_kept_and_comes_out_the_same_after_a_kill(
    without: Trained,
    tiny_model: Path,
    tokenizer: ChatTokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged(monkeypatch, True)
    notes: list[dict[str, Any]] = []
    run = train(tiny_model, tokenizer, tmp_path / "whole", progress=notes.append)
    kept = run.preferred
    assert kept is not None and kept.kept and kept.pairs == 8 and run.dev_loss == kept.dev_loss
    assert weights(run) != weights(without)
    told = [note for note in notes if note.get("phase") == PHASE]
    assert [note["step"] for note in told] == [13, 14, 15, 16] and told[0]["steps"] == 16
    assert [entry["loss"] for entry in run.history[-4:]] == [note["loss"] for note in told]

    class Killed(BaseException):
        pass

    def kill(note: dict[str, Any]) -> None:
        if note.get("step") == 15:
            raise Killed

    with pytest.raises(Killed):
        train(tiny_model, tokenizer, tmp_path / "killed", progress=kill)
    again: list[dict[str, Any]] = []
    resumed = train(tiny_model, tokenizer, tmp_path / "killed", progress=again.append)
    assert [note["step"] for note in again] == [13, 14, 15, 16], "the stage alone, from its start"
    assert weights(resumed) == weights(run) and losses(resumed) == losses(run)


def test_a_stage_that_diverges_leaves_the_supervised_adapter(
    without: Trained,
    tiny_model: Path,
    tokenizer: ChatTokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preferences, "_LEARNING_RATE_SHARE", 1e30)
    run = train(tiny_model, tokenizer, tmp_path)
    assert run.preferred is not None and run.preferred.dev_loss is None and not run.preferred.kept
    assert "diverged and were not kept" in str(run.preferred)
    assert weights(run) == weights(without) and run.dev_loss == without.dev_loss


def test_without_enough_pairs_nothing_is_tried_and_trl_is_not_imported(
    without: Trained,
    tiny_model: Path,
    tokenizer: ChatTokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "trainer.learning.dpo", None)  # an import would fail
    run = train(tiny_model, tokenizer, tmp_path / "few", replace(ON, min_pairs=9))
    assert run.preferred == Preferred(8, 9, run.dev_loss) and weights(run) == weights(without)
    assert str(run.preferred) == "8 corrected answers are too few to learn preferences from (9 needed)"
    off = train(tiny_model, tokenizer, tmp_path / "off", replace(ON, preference=0.0))
    assert off.preferred is None and losses(off) == losses(without) and weights(off) == weights(without)


def test_what_the_report_says_of_it() -> None:
    kept = Preferred(30, 20, 0.5, 0.4, True, 2.0, 1.26, ({"step": 9, "loss": 1.0},))
    assert kept.as_record() == {
        "pairs": 30,
        "needed": 20,
        "supervised_dev_loss": 0.5,
        "dev_loss": 0.4,
        "kept": True,
        "margin": 2.0,
        "steps": 1,
        "seconds": 1.3,
    }
    assert (
        str(kept) == "preferences were learned from 30 corrected answers (dev loss 0.500 before, 0.400 after)"
    )
