"""Readers of other people's bytes bear a few hundred of them each; `python -m benchmarks.fuzz` gives them millions."""

import random
from pathlib import Path

import pytest

from benchmarks.fuzz_targets import TARGETS, seeds

_EACH = 150
_PIECES = (b"null", b"[]", b"{}", b'""', b"-1", b"1e999", b"NaN", b"\xed\xa0\x80", b"\x00")


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_bears_bytes_that_nobody_would_write(name: str, tmp_path: Path) -> None:
    chance = random.Random(name)
    (tmp_path / "seeds").mkdir()
    begin = seeds(name, tmp_path / "seeds")
    assert begin
    (tmp_path / "reader").mkdir()
    reader = TARGETS[name](tmp_path / "reader")
    for data in begin:
        reader(data)
    for _ in range(_EACH):
        reader(_changed(chance.choice(begin), chance))


def _changed(data: bytes, chance: random.Random) -> bytes:
    """A few cuts, repetitions, foreign bytes and swaps."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(found))
        match chance.randrange(5):
            case 0:
                found[at : at + chance.randint(1, 8)] = b""
            case 1:
                found[at:at] = found[at : at + chance.randint(1, 40)]
            case 2:
                found[at:at] = chance.randbytes(chance.randint(1, 4))
            case 3:
                found[at:at] = chance.choice(_PIECES)
            case _:
                del found[at:]
    return bytes(found)
