"""What the log of a training run says: when to stop, the best epoch, and whether the run overfitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

Log = Sequence[Mapping[str, Any]]

# A dev loss must lie so much above another to be called worse: a dev split is small,
# and 1 % comes and goes between epochs of a run that still learns.
_WORSE = 1.01


@dataclass(frozen=True)
class Epoch:
    """The mean loss of an epoch's steps, and the dev loss at its end, in nats per answer token."""

    number: int
    train_loss: float
    dev_loss: float


@dataclass(frozen=True)
class Curve:
    """A run epoch by epoch; `overfit_from` is the first epoch after the best one from which dev stayed worse."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    overfit_from: int | None

    def overfit_remark(self) -> str | None:
        """For people, where the run overfitted."""
        if self.overfit_from is None:
            return None
        return (
            f"Training overfitted from epoch {self.overfit_from} on; the adapter is that of epoch "
            f"{self.best_epoch}, the best on dev."
        )

    def as_record(self) -> dict[str, Any]:
        """Plain JSON values for the run's report."""
        last = self.epochs[-1]
        return {
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "best_epoch": self.best_epoch,
            "last_train_loss": last.train_loss,
            "last_dev_loss": last.dev_loss,
            "overfit_from": self.overfit_from,
        }


def curve(log: Log) -> Curve:
    """Needs at least one evaluation after the first step."""
    epochs: list[Epoch] = []
    losses: list[float] = []
    for entry in log:
        if "eval_loss" in entry and losses:
            epochs.append(Epoch(len(epochs) + 1, fmean(losses), entry["eval_loss"]))
            losses = []
        elif "loss" in entry:
            losses.append(entry["loss"])
    best = min(epochs, key=lambda epoch: epoch.dev_loss)
    return Curve(tuple(epochs), best.number, _overfit_from(epochs, best))


def _overfit_from(epochs: Sequence[Epoch], best: Epoch) -> int | None:
    """Dev is worse than at its best until the end, while what is trained on still gets better: learning by heart."""
    later = epochs[best.number :]
    if not later or later[-1].train_loss >= best.train_loss:
        return None
    first = None
    for epoch in reversed(later):
        if epoch.dev_loss <= _WORSE * best.dev_loss:
            break
        first = epoch.number
    return first


def out_of_patience(log: Log, patience: int) -> bool:
    """Whether the last `patience` evaluations all missed the best one before them."""
    losses = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= patience
