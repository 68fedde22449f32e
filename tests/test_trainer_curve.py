"""What the log of a run says: the best epoch, overfitting, and when to stop."""

from collections.abc import Sequence
from typing import Any

import pytest

from trainer.training.curve import curve, out_of_patience


def log(train: Sequence[float], dev: Sequence[float]) -> list[dict[str, Any]]:
    """Two steps an epoch, both at the epoch's mean loss."""
    entries: list[dict[str, Any]] = []
    for epoch, (loss, dev_loss) in enumerate(zip(train, dev, strict=True)):
        entries += [{"step": 2 * epoch + n, "loss": loss} for n in (1, 2)]
        entries.append({"step": 2 * epoch + 2, "eval_loss": dev_loss})
    return entries


def test_epochs_carry_the_mean_of_their_steps() -> None:
    found = curve([{"step": 1, "loss": 3.0}, {"step": 2, "loss": 1.0}, {"step": 2, "eval_loss": 1.5}])
    (epoch,) = found.epochs
    assert (epoch.number, epoch.train_loss, epoch.dev_loss) == (1, 2.0, 1.5)
    assert found.best_epoch == 1 and found.overfit_from is None


@pytest.mark.parametrize(
    ("train", "dev", "best", "overfit_from"),
    [
        ([3, 2, 1], [3, 2, 1], 3, None),  # still learning at the end
        ([3, 2, 1, 0.5], [3, 2, 2.2, 2.5], 2, 3),
        ([3, 2, 1, 0.5], [3, 2, 2.01, 2.5], 2, 4),  # half a percent is no overfitting
        ([3, 2, 1, 0.5], [3, 2, 2.2, 2.01], 2, None),  # it came back
        (
            [3, 2, 2.1, 2.2],
            [3, 2, 2.2, 2.5],
            2,
            None,
        ),  # training got worse as well: that is no learning by heart
    ],
)
def test_overfitting_is_dev_getting_worse_while_training_gets_better(
    train: list[float], dev: list[float], best: int, overfit_from: int | None
) -> None:
    found = curve(log(train, dev))
    assert found.best_epoch == best and found.overfit_from == overfit_from
    record = found.as_record()
    assert record["last_train_loss"] == train[-1] and record["last_dev_loss"] == dev[-1]
    remark = found.overfit_remark() or ""
    assert (f"overfitted from epoch {overfit_from} on" in remark) == (overfit_from is not None)
    assert record["overfit_from"] == overfit_from and len(record["epochs"]) == len(train)


@pytest.mark.parametrize(
    ("dev", "over"), [([], False), ([3, 2], False), ([2, 3], False), ([2, 3, 3], True), ([2, 3, 2, 1], False)]
)
def test_patience_ends_after_so_many_evaluations_that_are_no_better(dev: list[float], over: bool) -> None:
    assert out_of_patience(log([1.0] * len(dev), dev), 2) is over
