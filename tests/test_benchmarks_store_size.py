"""The benchmark of a large store, in a small one."""

from pathlib import Path

from benchmarks.page_queries import PAGES, SEARCHES, WRITES
from benchmarks.record import Screen
from benchmarks.store_size import measure


def test_everything_is_timed_and_compared_with_its_aim(tmp_path: Path) -> None:
    result, aims = measure(tmp_path, 2000, 400, 50, seed=1, screen=Screen(), calls=10)
    assert result["store"]["messages"] == 2000
    found = result["milliseconds"]
    assert found.keys() >= {*PAGES, *SEARCHES, *WRITES, "training set", "approved answers: after one more"}
    assert all(0 < one["p50"] <= one["p95"] <= one["most"] for one in found.values())
    assert {aim.name.partition(", p")[0] for aim in aims} >= {*PAGES, *SEARCHES, "rating"}
    assert result["import"]["first"]["rows"] == 200 and result["import"]["again"]["rows"] == 0
