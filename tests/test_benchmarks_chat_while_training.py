"""Turns of chat are counted in the phase in which they were asked, and compared with the idle machine."""

import pytest

from benchmarks.chat_while_training import IDLE, Waited, by_phase, summary
from store.records import RunEvent


def turn(at: float, first: float = 0.2, deployment: int = 1) -> Waited:
    return Waited(at, first, first + 1.0, deployment)


def test_a_turn_belongs_to_the_last_phase_that_had_begun() -> None:
    events = [RunEvent(1, 10.0, "train", {}), RunEvent(1, 12.0, "train", {}), RunEvent(1, 20.0, "gate", {})]
    before, training, gate, swapped = turn(9.0), turn(15.0), turn(20.0), turn(25.0, deployment=2)
    found = by_phase([before, training, gate, swapped], events, served=1)
    assert found == {"train": [training], "gate": [gate]}


def test_the_ratio_is_that_of_the_95th_percentiles() -> None:
    idle = [turn(0.0, 0.1) for _ in range(50)]
    slow = [turn(0.0, 0.1 if place < 40 else 0.4) for place in range(50)]
    rows = summary({IDLE: idle, "train": slow}, seed=1)
    assert rows["train"]["p95_ratio"] == {"ratio": 4.0, "low": 4.0, "high": 4.0}
    assert rows["train"]["first_token_s"]["p50"] == pytest.approx(0.1)
    assert rows["train"]["turns"] == 50 and "p95_ratio" not in rows[IDLE]


def test_few_turns_have_a_wide_interval() -> None:
    idle = [turn(0.0, 0.1 + place / 1000) for place in range(100)]
    few = [turn(0.0, first) for first in (0.1, 0.2, 0.6)]
    ratio = summary({IDLE: idle, "gate": few}, seed=1)["gate"]["p95_ratio"]
    assert ratio["low"] < ratio["ratio"] <= ratio["high"] and ratio["high"] > 2 * ratio["low"]
