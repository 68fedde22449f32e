"""Says how long a run will take yet: one estimate for all of it, from what earlier runs took and how far this is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from store.records import RunEvent, TrainingRun

# Where no earlier run says it: seconds of each phase, at least and for each example of a split, with a 135M model on
# two cores. Of three runs of the sample that took 13 minutes, and shorter ones on other tasks.
_FIRST_RUN = {
    "train": ("train", 15.0, 2.9),
    "variants": ("dev", 20.0, 1.5),
    "gate": ("gate", 30.0, 0.6),
    "swap": ("gate", 12.0, 0.0),
}
_PHASES = list(_FIRST_RUN)
_PHASE_OF = dict.fromkeys(("dataset", "environment", "publish"), "train") | {"probe": "swap"}
_SYSTEMS = 2  # that answer the gate's questions, at least: base model and candidate
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
    expected = _expected(run, counts, earlier)
    begun = {_PHASE_OF.get(event.phase, event.phase) for event in events}
    present = [phase for phase in _PHASES if phase in begun][-1]
    before = sum(expected[phase] for phase in _PHASES[: _PHASES.index(present)])
    done = before + expected[present] * _share(run, events, present, int(counts.get("gate", 0)))
    # How much slower than expected: believed the more, the more is done, and from a tenth on altogether.
    whole, counted = sum(expected.values()), events[-1].at - run.started_at
    pace = 1 + min(1.0, 10 * done / whole) * (counted / done - 1) if done else 1.0
    left = max(pace * (whole - done) - (now - events[-1].at), 5.0)
    return Estimate(left, (now - run.started_at) / (now - run.started_at + left))


def _expected(
    run: TrainingRun, counts: Mapping[str, Any], earlier: Iterable[TrainingRun]
) -> dict[str, float]:
    """Seconds for each phase: those of the newest run that went through all of them, for as many examples as now."""
    before = next((o.report for o in earlier if {"train", "gate"} <= o.report.get("seconds", {}).keys()), {})
    expected = {}
    for phase, (split, least, each) in _FIRST_RUN.items():
        number = counts.get(split, 0)
        epochs = run.settings.get("epochs", 10) / 10 if phase == "train" else 1.0
        expected[phase] = least + each * number * epochs
        if known := before.get("seconds", {}).get("probe" if phase == "swap" else phase):
            expected[phase] = known * number / (before["dataset"].get(split) or number or 1)
    if not counts.get("trains", True):
        expected["train"] = 5.0
    return expected


def _share(run: TrainingRun, events: Sequence[RunEvent], phase: str, gate: int) -> float:
    """How much of a phase is done, by what it counts; 0 where it counts nothing."""
    data = [event.data for event in events if event.phase == phase]
    if phase == "train":
        latest = {name: value for one in data for name, value in one.items()}
        return float(min(1.0, latest.get("step", 0) / latest.get("steps", 1)))
    counted = {one.get("what", one["total"]): (one["done"], one["total"]) for one in data if one.get("total")}
    if not counted:
        return 0.0
    done, total = sum(done for done, _ in counted.values()), [*counted.values()][-1]
    whole = done + total[1] - total[0]  # at least
    if phase == "gate":
        whole = max(whole, (_SYSTEMS + ("active" in counted)) * gate + _GENERAL)
    elif len(counted) == 1:
        whole += run.settings.get("variants", 3) + 1
    return float(done / whole)
