"""A trained model to files that a server may load: complete, equal in numbers, never half there."""

from pathlib import Path

import pytest
import torch
from file_faults import files_of_at_most, under_faults

from assistant.adapter_files import FILES, MANIFEST, BadAdapter, fingerprint, verify
from trainer.training.finetune import Trained
from trainer.training.lora import load_with_lora
from trainer.training.publish import publish


def test_a_published_adapter_is_one_that_a_server_may_load(
    trained: Trained, tiny_model: Path, tmp_path: Path
) -> None:
    base = fingerprint(tiny_model)
    manifest = publish(trained.model, tmp_path, "bank-v0001", base)
    assert verify(tmp_path / "bank-v0001", base, 32) == manifest
    assert manifest.rank == 4
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {*FILES, MANIFEST}


def test_a_published_adapter_is_never_written_again(trained: Trained, tmp_path: Path) -> None:
    publish(trained.model, tmp_path, "bank-v0001", "base")
    before = {path.name: path.read_bytes() for path in (tmp_path / "bank-v0001").iterdir()}
    with pytest.raises(FileExistsError, match="never written again"):
        publish(trained.model, tmp_path, "bank-v0001", "base")
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "bank-v0001").iterdir()}


def test_a_full_disk_is_told_and_nothing_is_left_on_it(trained: Trained, tmp_path: Path) -> None:
    with (
        files_of_at_most(1000),
        pytest.raises(OSError, match=r"could not be written .* MiB are free there\. Free some"),
    ):
        publish(trained.model, tmp_path, "bank-v0001", "base")
    assert not list(tmp_path.iterdir())
    publish(trained.model, tmp_path, "bank-v0001", "base")


def test_a_fault_at_any_call_to_the_system_leaves_no_half_adapter(tiny_model: Path, tmp_path: Path) -> None:
    """Every open, read, write, sync, rename and removal, whoever makes it: no space, an I/O error, and a kill."""
    found = under_faults(tmp_path, "publish", str(tiny_model))
    assert list(found) == ["no space", "I/O error", "kill -9"]
    for of_it in found.values():
        assert of_it["calls"] > 30 and of_it["wrong"] == [] and "fault" not in of_it
    assert found["kill -9"]["killed"] == found["kill -9"]["calls"]
    assert found["no space"]["refused"] > 30 and found["I/O error"]["refused"] > 30


def test_weights_that_diverged_are_not_published(tiny_model: Path, tmp_path: Path) -> None:
    model = load_with_lora(tiny_model, 4)
    with torch.no_grad():
        next(p for name, p in model.named_parameters() if "lora_B" in name)[0, 0] = float("nan")
    with pytest.raises(BadAdapter, match="NaN"):
        publish(model, tmp_path, "bank-v0001", "base")
    assert not (tmp_path / "bank-v0001").exists()
