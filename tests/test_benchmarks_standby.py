"""A standby that Litestream keeps of a store in use."""

from pathlib import Path

from benchmarks.standby import lose_the_first


def test_a_standby_has_all_up_to_a_moment_and_is_sound(tmp_path: Path) -> None:
    """How old that moment may be is measured by `python -m benchmarks.standby`."""
    loss = lose_the_first(tmp_path, 1.5)
    assert loss.acknowledged > 0 and loss.restored > 0
    assert (loss.gaps, loss.problems) == (0, [])
