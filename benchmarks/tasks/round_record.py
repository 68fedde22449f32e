"""A round's ratings, run and measurements to its record in the result: plain JSON. Pure.

In: values of the store, the trainer and `measure`. Out: what a reader needs to judge the round. Does not measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from benchmarks.tasks.asking import Tally
from benchmarks.tasks.measure import Measurement, compare
from store.records import Deployment, TrainingRun
from trainer.proof.gate import performance_index

IGNORES = (
    "no index: on this sample the base model scores less than a point more with its full prompt than without any, so a "
    "shorter prompt is no achievement of the training"
)


def asked_record(tally: Tally) -> dict[str, Any]:
    """What the simulated person did in the round."""
    return {
        "rated_up": tally.up,
        "corrected": tally.corrected,
        "rated_down_only": tally.down,
        "mean_score": tally.mean_score,
        "failed": tally.failed,
    }


def run_record(run: TrainingRun) -> dict[str, Any]:
    """What the trainer reports: verdict, reasons, the table of rungs, the cost."""
    return {
        "id": run.id,
        "status": run.status.value,
        "message": run.message,
        "seconds": round(run.finished_at - run.started_at, 1) if run.finished_at else None,
        "adapter": run.adapter,
        "settings": run.settings,
        "dataset": run.report.get("dataset"),
        "training": run.report.get("training"),
        "gate": _without_path(run.report.get("gate")),
        "phases_s": run.report.get("seconds"),
    }


def _without_path(gate: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """A scorer that has a file names it by a path that only this machine has."""
    if not gate:
        return gate
    name, colon, path = gate["scorer"].partition(":")
    return {**gate, "scorer": f"{name}{colon}{PurePath(path).name}"}


def last_tested(run: TrainingRun) -> Sequence[str] | None:
    """The segments of the last rung that the gate tested; None where it tested none."""
    rungs = (run.report.get("gate") or {}).get("rungs", ())
    tested = [rung["kept"] for rung in rungs if rung.get("tested", True)]
    return tested[-1] if tested else None


def measured_record(
    measured: Mapping[str, Measurement | None], active: Deployment, margin: float, right_or_wrong: bool
) -> dict[str, Any]:
    """Quality and tokens of each pair, and how the active one stands against the others.

    `measured` has base_full, base_rung, base_empty, active, and once something was trained candidate_full and
    candidate_rung, which is the last rung that the gate tested, passed or not. `margin` is the gate's, and
    `right_or_wrong` says of the scorer that it gives 0 or 1 alone.
    """
    full, empty, served = measured["base_full"], measured["base_empty"], measured["active"]
    if full is None or empty is None or served is None:
        raise ValueError("A round measures base_full, base_empty and active.")
    quality = {name: _quality(item) for name, item in measured.items()}
    index = None
    if quality["active"] and quality["base_full"] and quality["base_empty"]:
        index = performance_index(
            *(found["mean"] for found in (quality["active"], quality["base_full"], quality["base_empty"]))
        )
    return {
        "active": {
            "deployment": active.id,
            "adapter": active.adapter,
            "rung": active.rung,
            "kept": list(active.kept),
        },
        "prompt_tokens": {
            "full": full.part_tokens,
            "active": served.part_tokens,
            "cut": 1 - served.part_tokens / full.part_tokens if full.part_tokens else 0.0,
            "request_full": full.request_tokens,
            "request_active": served.request_tokens,
        },
        "quality": quality,
        "differences": {
            f"active - {name}": _difference(served, measured.get(name), margin, right_or_wrong)
            for name in ("base_full", "candidate_full")
        },
        "performance_index": index,
        "performance_index_note": "" if index is not None else IGNORES,
    }


def _quality(measured: Measurement | None) -> dict[str, Any] | None:
    score = measured.quality() if measured else None
    if measured is None or score is None:
        return None
    return {
        **asdict(score),
        "n": len(measured.scores) - measured.scores.count(None),
        "failed": len(measured.failures),
        "part_tokens": measured.part_tokens,
    }


def _difference(
    one: Measurement, other: Measurement | None, margin: float, right_or_wrong: bool
) -> dict[str, float] | None:
    found = compare(one, other, margin, right_or_wrong) if other else None
    return {"mean": found.mean, "lower": found.lower} if found else None
