"""Where each result stands in the picture."""

from benchmarks.tasks.picture import _places


def test_a_task_has_a_column_and_its_seeds_stand_below_each_other() -> None:
    assert _places(["a", "a", "b", "c", "b"]) == [(0, 0), (1, 0), (0, 1), (0, 2), (1, 1)]


def test_more_tasks_than_fit_side_by_side_go_on_below() -> None:
    assert _places(["a", "b", "c", "d", "e"]) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]
