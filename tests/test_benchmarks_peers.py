"""Peers are measured in turn, what is not to be had is said, and a row measured again leaves the others alone."""

import json
from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.peer_rows import streams
from benchmarks.peer_rows.bench import Bench, Found, NotPossible, spread, table


def test_ways_are_measured_in_turn(tmp_path: Path) -> None:
    asked: list[str] = []

    def measured(way: str) -> dict[str, float]:
        asked.append(way)
        return {"s": float(len(asked))}

    bench = Bench(tmp_path, 2, 1, lambda _: None)
    found = bench.in_turn({"ours": lambda: measured("ours"), "theirs": lambda: measured("theirs")})
    assert asked == ["ours", "theirs", "ours", "theirs"]
    ways = {way: spread(turns) for way, turns in found.items()}
    assert ways == {"ours": {"s": [2.0, 1.0, 3.0]}, "theirs": {"s": [3.0, 2.0, 4.0]}}
    assert "| theirs | 3 (2 to 4) |" in table(ways)


def test_only_the_row_that_was_measured_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(bench: Bench) -> Found:
        with bench.unless_impossible("chainlit"):
            raise NotPossible("no index answers")
        return {"raw SSE": [{"s": 1.0}]}

    monkeypatch.setattr(streams, "measure", measure)
    out = tmp_path / "peers.json"
    out.write_text('{"benchmark": "peers", "rows": {"swap": {"turns": 9}}}')
    peers.main([peers.Row.STREAMS], turns=1, seed=1, scratch=tmp_path / "scratch", out=out)
    rows = json.loads(out.read_text())["rows"]
    assert rows["swap"] == {"turns": 9}
    assert rows["streams"]["ways"] == {"raw SSE": {"s": [1.0, 1.0, 1.0]}}
    assert rows["streams"]["remarks"] == ["chainlit: no index answers"]
