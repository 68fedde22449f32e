"""Deployments, runs and requests → the numbers of the Savings page.

In: what the store has. Out: one value with the saving, and its cost at given prices. Any part of a report
may be missing. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assistant.web import plots, words
from store.records import Activation, Deployment, RequestPoints, TrainingRun


@dataclass(frozen=True)
class Saving:
    """What a request carries: `before` with the whole prompt, `now` with what is served. `run` proved it."""

    before: int
    now: int
    run: TrainingRun | None

    @property
    def report(self) -> Mapping[str, Any]:
        return self.run.report if self.run else {}


@dataclass(frozen=True)
class Cost:
    """The prompt part of 1,000 requests at the prices given: with a cold and with a warm prefix cache."""

    cold_before: float
    cold_now: float
    warm_before: float
    warm_now: float


def saving(full_tokens: int, active: Deployment | None, runs: Sequence[TrainingRun]) -> Saving | None:
    if active is None:
        return None
    run = next((item for item in runs if item.id == active.run_id), None)
    return Saving(full_tokens, active.prompt_tokens, run)


def cost(saved: Saving, uncached_price: float, cached_price: float) -> Cost:
    """Prices are per million input tokens."""
    thousand = 1000 / 1_000_000
    return Cost(
        saved.before * uncached_price * thousand,
        saved.now * uncached_price * thousand,
        saved.before * cached_price * thousand,
        saved.now * cached_price * thousand,
    )


def served(activations: Sequence[Activation], deployments: Sequence[Deployment]) -> list[plots.Served]:
    """The step line of the plot, one step per activation."""
    known = {deployment.id: deployment for deployment in deployments}
    return [
        plots.Served(
            item.at, known[item.deployment_id].prompt_tokens, _label(known[item.deployment_id], item)
        )
        for item in activations
        if item.deployment_id in known
    ]


def requests(points: RequestPoints, most: int = 400) -> list[plots.Request]:
    """The dots of the plot, oldest first: of the same tokens one in each of `most` equal parts of the time, the last.

    More than one dot a pixel would only be sent to the browser and drawn over each other.
    """
    if not points.at:
        return []
    part = (points.at[-1] - points.at[0]) / most or 1.0
    dots: dict[tuple[int, int], plots.Request] = {}
    for at, tokens in zip(points.at, points.prompt_part_tokens, strict=True):
        dots[int((at - points.at[0]) / part), tokens] = plots.Request(at, tokens)
    return sorted(dots.values(), key=lambda dot: dot.at)


def probe(report: Mapping[str, Any], prompt: str, cache: str) -> float | None:
    """Median seconds to the first token: prompt full or short, cache cold or warm."""
    value: Any = report.get("probe")
    for key in (prompt, cache, "median_s"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def quality(report: Mapping[str, Any], when: str) -> Mapping[str, Any]:
    """Mean, low and high before or after the run."""
    part = report.get(when)
    score = part.get("quality") if isinstance(part, Mapping) else None
    return score if isinstance(score, Mapping) else {}


def _label(deployment: Deployment, activation: Activation) -> str:
    name = deployment.adapter or "base, full prompt"
    back = " (rollback)" if activation.reason.startswith("rollback") else ""
    return f"{name}: {words.tokens(deployment.prompt_tokens)}{back}"
