"""Decides which variants of a candidate pass the gate, and which of them is deployed, with reasons.

A variant passes when the one-sided 95 % lower bound of the paired score difference lies above -margin against every
reference, and every guard holds. Variants are tested from longest to shortest, and testing stops at the first failure
(fixed-sequence testing), which keeps the chance of any false pass at 5 % without a correction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Any

from trainer.evaluation.guards import Guard, answers_belong, check_texts
from trainer.evaluation.statistics import Interval, Pairs, interval

CONFIDENCE = 0.95  # of a gate's word, or of both together where a candidate may be evaluated twice


@dataclass(frozen=True)
class Answers:
    """What one (adapter, variant) answered on the gate split, in the split's order, and how it scored (0 to 1)."""

    texts: tuple[str, ...]
    scores: tuple[float, ...]
    prompt_tokens: int


@dataclass(frozen=True)
class Comparison:
    """A variant against one reference, in points of the score (0 to 1)."""

    reference: str
    difference: float
    lower: float
    passed: bool
    more_examples: int | None


@dataclass(frozen=True)
class VariantVerdict:
    """Whether one variant may be served, and why."""

    variant: int
    segment_ids: tuple[str, ...]
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
    chosen: VariantVerdict | None
    reasons: tuple[str, ...]
    more_examples: int | None


def test_variant(
    variant: int,
    segment_ids: Sequence[str],
    answers: Answers,
    references: Mapping[str, Answers],
    approved: Sequence[str],
    clusters: Sequence[str],
    margin: float,
    right_or_wrong: bool = False,
    confidence: float = CONFIDENCE,
) -> VariantVerdict:
    """Compare one variant of the candidate with every reference, on the same examples.

    `right_or_wrong`: the scorer gives 0 or 1 and nothing between, which allows a sharper test.
    """
    comparisons = []
    for name, reference in references.items():
        pairs = Pairs(answers.scores, reference.scores, clusters, right_or_wrong)
        lower = pairs.lower_bound(margin, confidence)
        more = None if lower > -margin else pairs.more_needed(margin, confidence)
        comparisons.append(Comparison(name, float(pairs.differences.mean()), lower, lower > -margin, more))
    return VariantVerdict(
        variant,
        tuple(segment_ids),
        answers.prompt_tokens,
        interval(answers.scores, clusters),
        tuple(comparisons),
        (
            *check_texts(answers.texts, approved),
            answers_belong(answers.texts, approved, clusters, answers.scores),
        ),
    )


def decide(
    variants: Sequence[VariantVerdict],
    active_tokens: int,
    same_prompt: bool,
    margin: float,
    confidence: float = CONFIDENCE,
) -> Verdict:
    """The shortest variant that passed in sequence, if serving it gains something.

    `variants` are those that were tested, longest first. `active_tokens` is what a request's prompt costs now;
    `same_prompt` says whether the active deployment belongs to the same prompt version.
    """
    passed = list(takewhile(lambda variant: variant.passed, variants))
    failed = variants[len(passed)] if len(passed) < len(variants) else None
    reasons = [_why_failed(failed, margin)] if failed else []
    more = _most_needed(failed) if failed else None
    for chosen in reversed(passed):
        if gain := _gain(chosen, active_tokens, same_prompt, margin, confidence):
            return Verdict(True, chosen, (gain, *reasons), more)
    if not passed:
        return Verdict(False, None, tuple(reasons), more)
    nothing = (
        f"Nothing is gained: the shortest variant that passed needs {passed[-1].prompt_tokens:,} prompt tokens, "
        f"{active_tokens:,} are served now, and better answers are not proven."
    )
    return Verdict(False, passed[-1], (nothing, *reasons), more)


def _gain(
    variant: VariantVerdict, active_tokens: int, same_prompt: bool, margin: float, confidence: float
) -> str | None:
    """What serving a variant that passed brings, as a sentence; None when it brings nothing."""
    if variant.prompt_tokens < active_tokens or not same_prompt:
        return (
            f"A prompt of {variant.prompt_tokens:,} tokens instead of {active_tokens:,} is, with {100 * confidence:g}% "
            f"confidence, less than {100 * margin:g} points worse than every reference."
        )
    better = [c for c in variant.comparisons if c.reference == "active" and c.lower > 0]
    if variant.prompt_tokens == active_tokens and better:
        return (
            f"The prompt stays at {active_tokens:,} tokens, and the answers are better than the active ones by "
            f"{100 * better[0].difference:.1f} points (at least {100 * better[0].lower:.1f})."
        )
    return None


def as_record(variant: VariantVerdict) -> dict[str, Any]:
    """Plain JSON values, as the store keeps them and the page shows them."""
    return {**asdict(variant), "passed": variant.passed, "tested": True}


def _why_failed(variant: VariantVerdict, margin: float) -> str:
    sentences = []
    for item in variant.comparisons:
        if not item.passed:
            sentence = (
                f"against {_NAMES.get(item.reference, item.reference)} it scores {100 * item.difference:+.1f} "
                f"points, and a loss of {-100 * item.lower:.1f} cannot be ruled out ({100 * margin:g} allowed)"
            )
            if item.more_examples is not None:
                sentence += f"; not enough evidence, about {item.more_examples} more gate examples"
            sentences.append(sentence)
    sentences += [f"{guard.name}: {guard.detail}" for guard in variant.guards if not guard.passed]
    return f"The prompt of {variant.prompt_tokens:,} tokens failed: {'. '.join(sentences)}."


_NAMES = {
    "base_full": "the base model with the full prompt",
    "active": "what is served now",
    "candidate_full": "the new adapter with the full prompt",
}


def _most_needed(variant: VariantVerdict) -> int | None:
    needed = [comparison.more_examples for comparison in variant.comparisons if not comparison.passed]
    return None if None in needed else max((more for more in needed if more), default=None)
