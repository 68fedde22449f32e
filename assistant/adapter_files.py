"""The manifest of an adapter's directory, and the checks that it must pass before a server may load it.

vLLM itself checks neither the base model nor for NaN, so both are checked here.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open

MANIFEST = "manifest.json"
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
_IDENTITY = [f"*{suffix}" for suffix in _WEIGHTS]
_IDENTITY += ["*config.json", "*token*", "chat_template*", "vocab*", "merges*"]
_BLOCK = 4096
FILES = ("adapter_config.json", "adapter_model.safetensors")


class BadAdapter(Exception):
    """The directory must not be loaded; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Manifest:
    """What was published: SHA-256 of each file, the base model's fingerprint and the LoRA rank."""

    name: str
    base: str
    rank: int
    files: dict[str, str]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def fingerprint(model_dir: Path) -> str:
    """SHA-256 over a base model: configuration, template and tokenizer whole, of weights a block of each tensor and of
    each MiB. Says “another model” in milliseconds, also where another is put in the same place.
    """
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _IDENTITY for path in model_dir.glob(pattern)}):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}:".encode())
        if path.suffix in _WEIGHTS and zipfile.is_zipfile(path):  # of torch: a checksum of each tensor
            digest.update(str([entry.CRC for entry in zipfile.ZipFile(path).infolist()]).encode())
        with path.open("rb") as file:
            starts = _tensor_starts(file) if path.suffix == ".safetensors" else []
            starts += range(0, size, 1 << 20 if path.suffix in _WEIGHTS else _BLOCK)
            for start in sorted(starts):
                file.seek(start)
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def _tensor_starts(file: BinaryIO) -> list[int]:
    """Where each tensor of a safetensors file begins, and the header before them."""
    length = int.from_bytes(file.read(8), "little")
    try:
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        begins = [8 + length + entry["data_offsets"][0] for entry in header.values()]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError):
        return []  # no safetensors file; who loads it says so
    return [*range(0, 8 + length, _BLOCK), *begins]


def make_manifest(directory: Path, name: str, base: str) -> Manifest:
    """The manifest of a directory that has just been written; raises BadAdapter."""
    return Manifest(name, base, _rank(directory), {file: _sha256(directory / file) for file in FILES})


def verify(directory: Path, base: str, max_rank: int, name: str | None = None) -> Manifest:
    """Check everything that a server would not; raises BadAdapter. `name`: where it is not the directory's yet."""
    try:
        manifest = msgspec.json.decode((directory / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, ValueError, RecursionError) as error:
        raise BadAdapter(
            f"{directory.name} has no readable {MANIFEST} ({error}): it was not published completely."
        ) from error
    for problem in _problems(directory, manifest, base, max_rank, name or directory.name):
        raise BadAdapter(problem)
    _check_weights(directory / "adapter_model.safetensors", manifest.rank)
    return manifest


def _problems(directory: Path, manifest: Manifest, base: str, max_rank: int, name: str) -> Iterator[str]:
    here = directory.name
    if set(manifest.files) != set(FILES):
        yield f"{here}: the manifest lists {sorted(manifest.files)}, expected {list(FILES)}."
    if extra := {path.name for path in directory.iterdir()} - {*FILES, MANIFEST}:
        yield f"{here} holds files that nobody published: {', '.join(sorted(extra))}."
    for file, expected in manifest.files.items():
        if not (directory / file).exists() or _sha256(directory / file) != expected:
            yield f"{here}/{file} is not the file that was published (its hash differs)."
    if manifest.name != name:
        yield f"{here} was published as {manifest.name}."
    if manifest.base != base:
        yield f"{here} was trained for another base model ({manifest.base[:12]}, not {base[:12]})."
    if (rank := _rank(directory)) != manifest.rank or rank > max_rank:
        yield f"{here} has rank {rank}; the server takes at most {max_rank}."


def _check_weights(path: Path, rank: int) -> None:
    try:
        with safe_open(path, framework="np") as tensors:
            names = list(tensors.keys())
            for name in names:
                weights = tensors.get_tensor(name)
                side = 0 if ".lora_A." in name else 1 if ".lora_B." in name else None
                if side is None or weights.ndim != 2 or weights.shape[side] != rank:
                    raise BadAdapter(
                        f"{path.name}: {name} has shape {weights.shape}, which is no rank-{rank} LoRA matrix."
                    )
                if not np.isfinite(weights).all():
                    raise BadAdapter(f"{path.name}: {name} holds NaN or infinity. The training run diverged.")
    except (SafetensorError, OSError, TypeError) as error:
        raise BadAdapter(f"{path.name} cannot be read: {error}") from error
    if not names:
        raise BadAdapter(f"{path.name} holds no weights.")


class _Config(msgspec.Struct):
    """Of what peft writes, what a server must not be asked to try."""

    r: int


def _rank(directory: Path) -> int:
    try:
        return msgspec.json.decode((directory / "adapter_config.json").read_bytes(), type=_Config).r
    except (OSError, ValueError, RecursionError) as error:
        raise BadAdapter(f"{directory.name}/adapter_config.json cannot be read: {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
