"""Choosing a training set is not interrupted by looks for garbage, and leaves the collector as it was."""

import gc

import pytest

from store.garbage import without_collecting


def test_the_collector_is_off_inside_and_on_afterwards() -> None:
    with without_collecting():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_is_on_again_after_an_error() -> None:
    with pytest.raises(ValueError), without_collecting():
        raise ValueError
    assert gc.isenabled()


def test_who_had_it_off_finds_it_off() -> None:
    gc.disable()
    try:
        with without_collecting():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
