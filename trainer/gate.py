"""Answers of the references and of each rung to a verdict with reasons. Pure.

In: scores and texts on the gate split. Out: which rungs pass, the one to deploy, and sentences that say why. A
rung passes when the one-sided 95 % lower bound of the paired score difference lies above -margin against every
reference. Rungs are tested from longest to shortest and testing stops at the first failure (fixed-sequence
testing), which keeps the chance of any false pass at 5 % without a correction. Does not generate or score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.statistics import Difference, Interval, difference, interval, more_needed

CONFIDENCE = 0.95
_LOOP = 4  # the same four words this often in a row of the answer: it turns in circles
_LENGTHS = (0.4, 2.5)  # median answer length over median approved length


@dataclass(frozen=True)
class Answers:
    """What one (adapter, rung) answered on the gate split, in the split's order, and how it scored (0 to 1)."""

    texts: tuple[str, ...]
    scores: tuple[float, ...]
    prompt_tokens: int


@dataclass(frozen=True)
class Comparison:
    """A rung against one reference, in points of the score (0 to 1)."""

    reference: str
    difference: float
    lower: float
    passed: bool
    more_examples: int | None


@dataclass(frozen=True)
class Guard:
    """A check that a good score alone would miss."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class RungVerdict:
    """Whether one rung may be served, and why."""

    rung: int
    kept: tuple[str, ...]
    prompt_tokens: int
    score: Interval
    comparisons: tuple[Comparison, ...]
    guards: tuple[Guard, ...]

    @property
    def passed(self) -> bool:
        return all(c.passed for c in self.comparisons) and all(g.passed for g in self.guards)


@dataclass(frozen=True)
class Verdict:
    """The gate's word on a candidate; a refusal is a result like any other."""

    promoted: bool
    chosen: RungVerdict | None
    reasons: tuple[str, ...]
    more_examples: int | None


def judge_rung(
    rung: int,
    kept: Sequence[str],
    answers: Answers,
    references: Mapping[str, Answers],
    approved: Sequence[str],
    clusters: Sequence[str],
    margin: float,
) -> RungVerdict:
    """Compare one rung of the candidate with every reference, on the same examples."""
    comparisons = []
    for name, reference in references.items():
        result: Difference = difference(answers.scores, reference.scores, clusters, CONFIDENCE)
        passed = result.lower > -margin
        more = None if passed else more_needed(result, margin, len(clusters), CONFIDENCE)
        comparisons.append(Comparison(name, result.mean, result.lower, passed, more))
    return RungVerdict(
        rung,
        tuple(kept),
        answers.prompt_tokens,
        interval(answers.scores, clusters),
        tuple(comparisons),
        guards(answers.texts, approved),
    )


def guards(texts: Sequence[str], approved: Sequence[str]) -> tuple[Guard, ...]:
    """Length, empty and looping answers: faults that a mean score can hide."""
    ratio = float(np.median([len(t) for t in texts])) / max(1.0, float(np.median([len(t) for t in approved])))
    empty = sum(not text.strip() for text in texts)
    loops = sum(is_looping(text) for text in texts)
    few = max(1, len(texts) // 50)
    return (
        Guard(
            "length",
            _LENGTHS[0] <= ratio <= _LENGTHS[1],
            f"the median answer is {ratio:.2f} times as long as the median approved one",
        ),
        Guard("empty answers", empty <= few, f"{empty} of {len(texts)} answers are empty"),
        Guard("looping answers", loops <= few, f"{loops} of {len(texts)} answers repeat themselves"),
    )


def is_looping(text: str) -> bool:
    """True when some four words in a row occur four times."""
    words = text.split()
    seen: dict[tuple[str, ...], int] = {}
    for start in range(len(words) - 3):
        key = tuple(words[start : start + 4])
        seen[key] = seen.get(key, 0) + 1
        if seen[key] >= _LOOP:
            return True
    return False


def conclude(
    rungs: Sequence[RungVerdict],
    active_tokens: int,
    same_prompt: bool,
    margin: float,
) -> Verdict:
    """The shortest rung that passed in sequence, if serving it gains something.

    `rungs` are those that were tested, longest first. `active_tokens` is what a request's prompt costs now;
    `same_prompt` says whether the active deployment belongs to the same prompt version.
    """
    passed: list[RungVerdict] = []
    for rung in rungs:
        if not rung.passed:
            break
        passed.append(rung)
    failed = rungs[len(passed)] if len(passed) < len(rungs) else None
    reasons = [_why_failed(failed, margin)] if failed else []
    more = _most_needed(failed)
    if not passed:
        return Verdict(False, None, tuple(reasons), more)
    chosen = passed[-1]
    if chosen.prompt_tokens < active_tokens or not same_prompt:
        reasons.insert(
            0,
            (
                f"Rung {chosen.rung} needs {chosen.prompt_tokens:,} prompt tokens instead of {active_tokens:,} and is, "
                f"with {CONFIDENCE:.0%} confidence, less than {100 * margin:g} points worse than every reference."
            ),
        )
        return Verdict(True, chosen, tuple(reasons), more)
    better = [c for c in chosen.comparisons if c.reference == "active" and c.lower > 0]
    if chosen.prompt_tokens == active_tokens and better:
        reasons.insert(
            0,
            (
                f"The prompt stays at {active_tokens:,} tokens, and the answers are better than the active ones by "
                f"{100 * better[0].difference:.1f} points (at least {100 * better[0].lower:.1f})."
            ),
        )
        return Verdict(True, chosen, tuple(reasons), more)
    reasons.insert(
        0,
        (
            f"Nothing is gained: the shortest rung that passed needs {chosen.prompt_tokens:,} prompt tokens, "
            f"{active_tokens:,} are served now, and better answers are not proven."
        ),
    )
    return Verdict(False, chosen, tuple(reasons), more)


def performance_index(rung: float, base_full: float, base_empty: float) -> float | None:
    """(Q(candidate, rung) - Q(base, empty)) / (Q(base, full) - Q(base, empty)).

    None when the base model ignores its own prompt (less than a point between full and empty): a shorter
    prompt is then no achievement of the training.
    """
    gain = base_full - base_empty
    return (rung - base_empty) / gain if gain >= 0.01 else None


def as_record(rung: RungVerdict) -> dict[str, Any]:
    """Plain JSON values, as the store keeps them and the page shows them."""
    return {**asdict(rung), "passed": rung.passed, "tested": True}


def _why_failed(rung: RungVerdict, margin: float) -> str:
    sentences = []
    for item in rung.comparisons:
        if not item.passed:
            sentence = (
                f"against {_NAMES.get(item.reference, item.reference)} it scores {100 * item.difference:+.1f} "
                f"points, and a loss of {-100 * item.lower:.1f} cannot be ruled out ({100 * margin:g} allowed)"
            )
            if item.more_examples is not None:
                sentence += f"; not enough evidence, about {item.more_examples} more gate examples"
            sentences.append(sentence)
    sentences += [f"{guard.name}: {guard.detail}" for guard in rung.guards if not guard.passed]
    return f"Rung {rung.rung} ({rung.prompt_tokens:,} prompt tokens) failed: {'. '.join(sentences)}."


_NAMES = {
    "base_full": "the base model with the full prompt",
    "active": "what is served now",
    "candidate_full": "the new adapter with the full prompt",
}


def _most_needed(rung: RungVerdict | None) -> int | None:
    if rung is None:
        return None
    open_ = [c for c in rung.comparisons if not c.passed]
    if not open_ or any(c.more_examples is None for c in open_):
        return None
    return max(c.more_examples or 0 for c in open_)
