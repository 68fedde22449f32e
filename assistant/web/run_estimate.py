"""Says how long a run will take yet: one estimate for all of it, from what earlier runs took and how far this is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from store.records import RunEvent, TrainingRun

# Where no earlier run says it: seconds of each phase, at least and for each example of a split, with a 135M model on
# two cores. Of three runs of the sample that took 13 minutes, and shorter ones on other tasks.
_FIRST_RUN = {
    "train": ("train", 15.0, 2.9),
    "variants": ("dev", 20.0, 1.5),
    "gate": ("gate", 30.0, 1.0),
    "swap": ("gate", 12.0, 0.0),
}
_PHASES = list(_FIRST_RUN)
_PHASE_OF = dict.fromkeys(("dataset", "environment", "teacher", "publish"), "train") | {"probe": "swap"}
_USUAL_END = 0.8  # of the epochs: what early stopping left of most runs
_SYSTEMS = 3  # that answer the gate's questions, at least: base model with and without prompt, candidate
_GENERAL = 48  # further questions, which have nothing to do with the assistant


@dataclass(frozen=True)
class Estimate:
    """Of a run that is under way: the seconds that are left, and the share that is done."""

    left_s: float
    share: float


def estimate(
    run: TrainingRun, events: Sequence[RunEvent], earlier: Iterable[TrainingRun], now: float
) -> Estimate | None:
    """None until the examples are counted. `earlier` are runs of the assistant, newest first."""
    counts = next((event.data for event in reversed(events) if event.phase == "dataset"), None)
    if counts is None:
        return None
    wanted, begun = _wanted(run, counts, earlier), dict[str, float]()
    for event in events:
        begun.setdefault(_PHASE_OF.get(event.phase, event.phase), event.at)
    present = [phase for phase in _PHASES if phase in begun][-1]
    took = now - begun[present]
    trained = (now if present == "train" else begun.get("variants", now)) - begun["train"]
    slower = _whole_training(events, trained, wanted["train"]) / wanted["train"]  # and so will the rest be
    if present == "train":
        share_of_epochs = _expected_end(run, events) / _USUAL_END
        left = max(slower * wanted["train"] * share_of_epochs - took, 0.02 * wanted["train"])
    else:
        left = _counted_left(run, events, present, took, slower * wanted[present], int(counts.get("gate", 0)))
    left += sum(slower * wanted[phase] for phase in _PHASES[_PHASES.index(present) + 1 :])
    left = max(left, 5.0)
    return Estimate(left, (now - run.started_at) / (now - run.started_at + left))


def _wanted(run: TrainingRun, counts: Mapping[str, Any], earlier: Iterable[TrainingRun]) -> dict[str, float]:
    """Seconds for each phase: those of the newest run that went through all of them, for as many examples as now."""
    before = next((one.report for one in earlier if "gate" in one.report.get("seconds", {})), {})
    wanted = {}
    for phase, (split, least, each) in _FIRST_RUN.items():
        number = counts.get(split, 0)
        epochs = run.settings.get("epochs", 10) / 10 if phase == "train" else 1.0
        wanted[phase] = least + each * number * epochs
        if known := before.get("seconds", {}).get("probe" if phase == "swap" else phase):
            wanted[phase] = known * number / (before["dataset"].get(split) or number or 1)
    return wanted


def _whole_training(events: Sequence[RunEvent], took: float, wanted: float) -> float:
    """Seconds of a training up to its usual end, by the steps that are done; what is wanted while there are few."""
    rated = [event.data for event in events if event.phase == "train" and "eta_s" in event.data]
    if len(rated) < 3:
        return wanted
    step, steps, eta = rated[-1]["step"], rated[-1]["steps"], rated[-1]["eta_s"]
    usual = _USUAL_END * steps
    if step >= usual:
        return float(took * usual / step)
    return float(took + eta * (usual - step) / (steps - step))


def _expected_end(run: TrainingRun, events: Sequence[RunEvent]) -> float:
    """The share of the epochs after which early stopping is expected."""
    epochs, patience = run.settings.get("epochs", 10), run.settings.get("patience", 2)
    losses = [event.data["dev_loss"] for event in events if event.data.get("dev_loss") is not None][1:]
    usual = _USUAL_END * epochs
    if losses:
        best = losses.index(min(losses)) + 1
        at_least = best + patience
        usual = max(usual, at_least) if best == len(losses) else (2 * usual + at_least) / 3
    return float(min(1.0, usual / epochs))


def _counted_left(
    run: TrainingRun, events: Sequence[RunEvent], phase: str, took: float, expected: float, gate: int
) -> float:
    """By what is counted in the phase, the more the further it is; by what was expected before."""
    counted: dict[Any, tuple[int, int]] = {}
    for event in events:
        if event.phase == phase and event.data.get("total"):
            counted[event.data.get("what", event.data["total"])] = (event.data["done"], event.data["total"])
    if phase == "swap" or not counted:
        return max(expected - took, 0.0)
    *finished, (done, total) = counted.values()
    did = sum(number for _, number in finished) + done
    whole = total + run.settings.get("variants", 3) + 1 if len(counted) == 1 else did
    if phase == "gate":
        whole = (_SYSTEMS + ("active" in counted)) * gate + _GENERAL
    whole = max(whole, did + total - done)
    measured, share = took * (whole - did) / max(1, did), did / whole
    least = measured / 2 if share > 1 / 3 else 0.0  # what was expected may be over already
    return share * measured + (1 - share) * max(expected - took, least)
