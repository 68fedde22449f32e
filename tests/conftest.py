"""Fixtures that more than one package's tests use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store in a file of its own."""
    with Store(tmp_path / "shorthand.sqlite") as opened:
        yield opened
