"""What a server would load without a look is refused here, each time with its reason."""

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_model import write_adapter

from assistant.adapter_files import FILES, MANIFEST, BadAdapter, fingerprint, make_manifest, verify

WEIGHTS = "adapter_model.safetensors"
BASE = "base hash"
WRONG_HASHES = dict.fromkeys(FILES, "0" * 64)


def publish_again(directory: Path) -> None:
    """A manifest that fits the changed files: what is left to find is the change itself."""
    (directory / MANIFEST).write_text(make_manifest(directory, directory.name, BASE).to_json())


def weights(directory: Path) -> bytes:
    return (directory / WEIGHTS).read_bytes()


def change(directory: Path, name: str, content: bytes) -> None:
    """Change a file and publish again."""
    (directory / name).write_bytes(content)
    publish_again(directory)


def rewrite_manifest(directory: Path, **changes: object) -> None:
    path = directory / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def configure(directory: Path, config: str) -> None:
    (directory / "adapter_config.json").write_text(config)
    digest = hashlib.sha256(config.encode()).hexdigest()
    files = json.loads((directory / MANIFEST).read_text())["files"]
    rewrite_manifest(directory, files=files | {"adapter_config.json": digest})


def test_a_good_adapter_verifies(tmp_path: Path) -> None:
    manifest = verify(write_adapter(tmp_path, "bank-v0001"), BASE, 32)
    assert (manifest.name, manifest.base, manifest.rank) == ("bank-v0001", BASE, 4)
    assert len(manifest.hash) == 64


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda directory: (directory / WEIGHTS).write_bytes(b"short"), "not the file that was published"),
        (lambda directory: change(directory, WEIGHTS, weights(directory)[:-10]), "cannot be read"),
        (lambda directory: change(directory, WEIGHTS, pickle.dumps({"weights": [1.0]})), "cannot be read"),
        (lambda directory: (directory / "adapter.bin").write_bytes(b""), "nobody published: adapter.bin"),
        (
            lambda directory: rewrite_manifest(directory, files=WRONG_HASHES),
            "not the file that was published",
        ),
        (lambda directory: rewrite_manifest(directory, files={}), "the manifest lists"),
        (lambda directory: change(directory, "adapter_config.json", b'{"r": 8}'), "rank-8"),
        (lambda directory: (directory / MANIFEST).unlink(), "not published completely"),
        (lambda directory: (directory / MANIFEST).write_text("{"), "not published completely"),
        (lambda directory: (directory / MANIFEST).write_text('{"name": "x"}'), "not published completely"),
        (lambda directory: rewrite_manifest(directory, files=None), "not published completely"),
        (lambda directory: rewrite_manifest(directory, rank="4"), "not published completely"),
        (lambda directory: configure(directory, "[]"), "adapter_config.json cannot be read"),
        (lambda directory: configure(directory, "{}"), "adapter_config.json cannot be read"),
        (lambda directory: configure(directory, '{"r": null}'), "adapter_config.json cannot be read"),
        (lambda directory: (directory / WEIGHTS).unlink(), "not the file that was published"),
    ],
)
def test_a_bad_directory_is_refused_with_its_reason(
    tmp_path: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    directory = write_adapter(tmp_path, "bank-v0001")
    spoil(directory)
    with pytest.raises(BadAdapter, match=reason):
        verify(directory, BASE, 32)


def diverged(value: float) -> np.ndarray:
    bad = np.ones((4, 32), np.float32)
    bad[3, 31] = value
    return bad


@pytest.mark.parametrize(
    ("name", "tensor", "reason"),
    [
        ("x.lora_A.weight", diverged(np.nan), "NaN or infinity"),
        ("x.lora_A.weight", diverged(np.inf), "NaN or infinity"),
        ("x.lora_A.weight", np.ones((5, 32), np.float32), "no rank-4 LoRA matrix"),
        ("x.weight", np.ones((4, 4), np.float32), "no rank-4 LoRA matrix"),
        ("x.lora_B.weight", np.ones(4, np.float32), "no rank-4 LoRA matrix"),
    ],
)
def test_a_tensor_that_is_no_matrix_of_the_rank_or_of_a_run_that_diverged_is_refused(
    tmp_path: Path, name: str, tensor: np.ndarray, reason: str
) -> None:
    directory = write_adapter(tmp_path, "bank-v0001", **{name: tensor})
    with pytest.raises(BadAdapter, match=reason):
        verify(directory, BASE, 32)


def test_another_base_model_is_refused(tmp_path: Path) -> None:
    directory = write_adapter(tmp_path, "bank-v0001", base="another")
    with pytest.raises(BadAdapter, match="another base model"):
        verify(directory, BASE, 32)


def test_a_rank_that_the_server_does_not_take_is_refused(tmp_path: Path) -> None:
    directory = write_adapter(tmp_path, "bank-v0001", rank=4)
    with pytest.raises(BadAdapter, match="rank 4; the server takes at most 2"):
        verify(directory, BASE, 2)


def test_an_adapter_under_another_name_is_refused(tmp_path: Path) -> None:
    """A directory that was copied or renamed is not what was published under that name."""
    write_adapter(tmp_path, "bank-v0001").rename(tmp_path / "bank-v0002")
    with pytest.raises(BadAdapter, match="bank-v0001"):
        verify(tmp_path / "bank-v0002", BASE, 32)


def test_the_fingerprint_tells_another_model(tmp_path: Path) -> None:
    for name, byte in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(byte * 100)
        (tmp_path / name / "config.json").write_text("{}")
    prints = [fingerprint(tmp_path / name) for name in "abc"]
    assert prints[0] == prints[2] != prints[1]
