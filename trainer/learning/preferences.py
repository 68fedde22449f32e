"""The stage after the supervised training that learns from rejected answers, and whether dev speaks for keeping it.

In: a model with the best supervised adapter, pairs, a way to measure dev. Out: the same model with the adapter that is
to be published, and what the stage brought. Place in the flow: the end of `finetune`. Does not know how pairs are made
or learned from: importing `dpo` takes 2 s, so it waits until there is something to learn.

The stage keeps no checkpoints. A run that is killed in it goes on from the supervised checkpoint, and as everything
here is seeded, the stage comes out the same; until it has ended, nothing is published.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.learning.curve import better
from trainer.learning.pairs import Pair
from trainer.learning.precision import Precision, native
from trainer.settings import TrainerSettings

PHASE = "preferences"  # of the run events that tell of its steps
# Of the supervised training's learning rate: the adapter is near where it should be.
_LEARNING_RATE_SHARE = 0.1


@dataclass(frozen=True)
class Preferred:
    """What the pairs brought: dev losses in nats per answer token before and after, and which adapter it is now.

    `dev_loss` is None where it diverged, and where there were too few pairs to begin with. `margin` is how many nats
    the chosen answers had gained on the rejected ones at the last step. `history` is {step, loss}, numbered on from
    the supervised steps.
    """

    pairs: int
    needed: int
    supervised_loss: float
    dev_loss: float | None = None
    kept: bool = False
    margin: float = 0.0
    seconds: float = 0.0
    history: tuple[dict[str, Any], ...] = ()

    @property
    def published_loss(self) -> float:
        """The dev loss of the adapter that the model has now."""
        return self.dev_loss if self.kept and self.dev_loss is not None else self.supervised_loss

    def as_record(self) -> dict[str, Any]:
        """For the run's report."""
        return {
            "pairs": self.pairs,
            "needed": self.needed,
            "supervised_dev_loss": self.supervised_loss,
            "dev_loss": self.dev_loss,
            "kept": self.kept,
            "margin": round(self.margin, 3),
            "steps": len(self.history),
            "seconds": round(self.seconds, 1),
        }

    def __str__(self) -> str:
        """As the run tells it."""
        if self.pairs < self.needed:
            return (
                f"{self.pairs} corrected answers are too few to learn preferences from ({self.needed} needed)"
            )
        if self.dev_loss is None:
            return f"preferences from {self.pairs} corrected answers diverged and were not kept"
        losses = f"dev loss {self.supervised_loss:.3f} before, {self.dev_loss:.3f} after"
        if self.kept:
            return f"preferences were learned from {self.pairs} corrected answers ({losses})"
        return f"preferences from {self.pairs} corrected answers brought nothing on dev and were not kept ({losses})"


@dataclass(frozen=True)
class Supervised:
    """What the stage starts from: the best checkpoint and its dev loss, and the run's last step, rate and precision."""

    path: Path
    dev_loss: float
    step: int
    learning_rate: float
    precision: Precision = field(default_factory=native)


def prefer(
    model: Any,
    pairs: Sequence[Pair],
    supervised: Supervised,
    settings: TrainerSettings,
    recompute: bool,
    measure: Callable[[], float],
    progress: Callable[[dict[str, Any]], None],
) -> Preferred:
    """Learn from the pairs and keep the result where dev is better for it; else the model is as it was.

    `measure` gives the dev loss of the model as it is then.
    """
    if len(pairs) < settings.min_pairs:
        return Preferred(len(pairs), settings.min_pairs, supervised.dev_loss)
    from trainer.learning.dpo import learn_pairs

    notes: list[dict[str, Any]] = []

    def told(note: dict[str, Any]) -> None:
        numbered = {**note, "step": supervised.step + note["step"], "steps": supervised.step + note["steps"]}
        notes.append(numbered)
        progress({"phase": PHASE, **numbered})

    started = time.monotonic()
    rate = _LEARNING_RATE_SHARE * supervised.learning_rate
    work_dir = supervised.path.parent / PHASE
    converged = learn_pairs(model, pairs, settings, rate, work_dir, recompute, told, supervised.precision)
    dev_loss = measure() if converged else math.nan
    kept = better(dev_loss, supervised.dev_loss)
    if not kept:
        model.load_adapter(str(supervised.path), model.active_adapter)
    return Preferred(
        pairs=len(pairs),
        needed=settings.min_pairs,
        supervised_loss=supervised.dev_loss,
        dev_loss=dev_loss if math.isfinite(dev_loss) else None,
        kept=kept,
        margin=notes[-1]["margin"],
        seconds=time.monotonic() - started,
        history=tuple({"step": note["step"], "loss": note["loss"]} for note in notes),
    )
