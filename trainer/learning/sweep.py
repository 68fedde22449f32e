"""Several learning rates to the one that a run trains with: a short trial of each, the best on dev is taken.

In: the course of the run. Out: the choice, with the dev loss of each trial. Place in the flow: before `finetune`, when
the settings name more than one rate. Every trial takes the same first rows from the same seed with a schedule of its
own length. Does not know what a good rate is: see `TrainerSettings.learning_rates` for when several are worth the time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from trainer.learning.finetune import Course, TrainingDiverged, finetune

_SHARE = 0.15  # of the run's steps, for each trial
_LEAST = 5  # steps; fewer are all warm-up


@dataclass(frozen=True)
class Trial:
    """A rate and the dev loss that it reached; None when it diverged."""

    learning_rate: float
    dev_loss: float | None


@dataclass(frozen=True)
class Choice:
    learning_rate: float
    steps: int  # of each trial
    trials: tuple[Trial, ...]

    def as_record(self) -> dict[str, Any]:
        return {**asdict(self), "trials": [asdict(trial) for trial in self.trials]}

    def __str__(self) -> str:
        """As the run tells it: “learning rate 0.001 chosen of 0.001 (dev loss 0.52), 0.01 (diverged)”."""
        tried = ", ".join(
            f"{t.learning_rate:g} ({'diverged' if t.dev_loss is None else f'dev loss {t.dev_loss:.3f}'})"
            for t in self.trials
        )
        return f"learning rate {self.learning_rate:g} chosen of {tried}"


def choose(course: Course, told: Callable[[dict[str, Any]], None]) -> Choice:
    """Try every rate of the course's settings; `told` gets {learning_rate, done, total} before each trial.

    The choice is kept in the work directory, so that a run that goes on after a kill does not choose again.
    Raises TrainingDiverged when every trial diverged.
    """
    kept = course.work_dir / "sweep.json"
    if kept.exists():
        record = json.loads(kept.read_text())
        return Choice(**{**record, "trials": tuple(Trial(**trial) for trial in record["trials"])})
    rates = course.settings.learning_rates
    steps = min(len(course.rows), max(_LEAST, round(_SHARE * len(course.rows))))
    trials = []
    for number, rate in enumerate(rates):
        told({"learning_rate": rate, "done": number, "total": len(rates)})
        trial = replace(
            course,
            rows=course.rows[:steps],
            epoch_ends=(steps,),
            learning_rate=rate,
            pairs=(),
            work_dir=course.work_dir / "trials" / str(number),
        )
        trials.append(Trial(rate, _dev_loss(trial)))
    usable = [(trial.dev_loss, trial.learning_rate) for trial in trials if trial.dev_loss is not None]
    if not usable:
        raise TrainingDiverged(
            f"All {len(rates)} learning rates diverged within {steps} steps: {', '.join(f'{r:g}' for r in rates)}. "
            f"Give smaller ones, say {min(rates) / 10:g}, or look at the newest corrections."
        )
    choice = Choice(min(usable)[1], steps, tuple(trials))
    course.work_dir.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(choice.as_record()))
    shutil.rmtree(course.work_dir / "trials", ignore_errors=True)
    return choice


def _dev_loss(trial: Course) -> float | None:
    try:
        return finetune(trial, lambda _: None).dev_loss
    except TrainingDiverged:
        return None
