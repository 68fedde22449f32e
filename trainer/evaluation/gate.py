"""Decides which variants of a candidate pass the gate, and which of them is deployed, with reasons.

A variant passes when the one-sided lower bound of the paired score difference lies above -margin against every
reference, and every guard holds. Testing goes from long to short and stops at the first failure (fixed-sequence
testing), which keeps the chance of any false pass at 5 % without a correction.

Unrated questions are evidence where answers are right or wrong: the difference is 0 where two systems say the same, and
people are asked where they differ. So that they are asked little, a variant is tested on ever more of them, and each
look spends a part of the 5 % (Bonferroni; group-sequential testing, Pocock 1977).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Any

from store.records import Variant
from trainer.evaluation.guards import Guard, answers_belong, check_texts
from trainer.evaluation.statistics import Interval, Pairs, interval

CONFIDENCE = 0.95  # of a gate's word, or of both together where a candidate may be evaluated twice
# Unrated questions of each look, and its part of the 5 %: the last one, by which an equal candidate passes, has most.
LOOKS = ((25, 0.01), (75, 0.01), (250, 0.03))
MOST_UNRATED = LOOKS[-1][0]
_LEAST_CUT = 0.05  # of the full prompt: for less of it the margin is not worth risking
_AS_LONG = 1.02  # times the tokens that are served is as long: means over some questions differ by a token
REFERENCES = {"base_full": "the base model with the full prompt", "active": "what is served now"}


@dataclass(frozen=True)
class Answers:
    """What one (adapter, variant) answered on the gate split, in the split's order, and how it scored (0 to 1).

    None is the score of an answer to an unrated question of which nobody has said whether it is right.
    """

    texts: tuple[str, ...]
    scores: tuple[float | None, ...]
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
    demonstrations: int
    prompt_tokens: int  # of its segments and demonstrations, on average
    score: Interval
    comparisons: tuple[Comparison, ...]
    guards: tuple[Guard, ...]
    unrated: int = 0  # questions that it was tested on, beside the rated ones
    undecided: tuple[int, ...] = ()  # questions of the next look of which people have to say who is right
    copy_at: float | None = None

    @property
    def passed(self) -> bool:
        judged = not self.undecided and all(c.passed for c in self.comparisons)
        return judged and all(g.passed for g in self.guards)

    @property
    def is_settled(self) -> bool:
        """Whether it passed, waits for people, or is so far behind that more unrated questions would not help."""
        hopeless = any(not one.passed and one.more_examples is None for one in self.comparisons)
        # The first look sees too few to give it up.
        return self.passed or bool(self.undecided) or (hopeless and self.unrated > LOOKS[0][0])

    def as_record(self) -> dict[str, Any]:
        """Plain JSON values, as the store keeps them and the page shows them."""
        return {**asdict(self), "passed": self.passed, "tested": True}


@dataclass(frozen=True)
class Verdict:
    """The gate's word on a candidate: `variant` is deployed, or the refusal is about it. Testing ended at `failed`."""

    promoted: bool
    variant: VariantVerdict
    reasons: tuple[str, ...]
    more_examples: int | None
    failed: VariantVerdict | None = None


@dataclass(frozen=True)
class Gate:
    """The gate's examples, their approved answers and conversations, and what a variant may lose.

    Rated examples come first; then unrated ones in a random order, with the answer that people found right since, or
    None. `right_or_wrong`: the scorer gives 0 or 1 and nothing between, which allows a sharper test. `same` says
    whether two answers are right or wrong together.
    """

    approved: Sequence[str | None]
    clusters: Sequence[str]
    margin: float
    right_or_wrong: bool = False
    confidence: float = CONFIDENCE
    unrated: int = 0
    same: Callable[[str, str], bool] = str.__eq__

    @property
    def rated(self) -> int:
        return len(self.clusters) - self.unrated

    def looks(self) -> list[tuple[int, float]]:
        """How many unrated questions each look takes, and the chance of a false pass that it may have."""
        ends = [look for look in LOOKS if look[0] < self.unrated]
        return [*ends, (self.unrated, 1 - self.confidence - sum(level for _, level in ends))]

    def look(
        self,
        variant: int,
        sent: Variant,
        answers: Answers,
        references: Mapping[str, Answers],
        look: tuple[int, float],
    ) -> VariantVerdict:
        """Compare them on the rated examples and as many unrated ones as the look takes, which are answered."""
        unrated, level = look
        rows = range(self.rated + unrated)
        undecided = {n for n in rows if any(self._is_open(n, answers, one) for one in references.values())}
        known = [n for n in rows if n not in undecided]
        compared = (self._compare(name, answers, one, known, level) for name, one in references.items())
        return VariantVerdict(
            variant,
            sent.segment_ids,
            sent.demonstrations,
            answers.prompt_tokens,
            self.quality(answers),
            tuple(compared),
            self._guards(answers, references, rows),
            unrated,
            tuple(sorted(undecided)),
            sent.copy_at,
        )

    def quality(self, answers: Answers) -> Interval:
        """Of the rated examples: of the others only those are known on which two systems differed."""
        rated = [score for score in answers.scores[: self.rated] if score is not None]
        return interval(rated, self.clusters[: self.rated])

    def _is_open(self, n: int, answers: Answers, reference: Answers) -> bool:
        """Whether the two differ, and nobody has said which of them is right."""
        unknown = answers.scores[n] is None or reference.scores[n] is None
        return unknown and not self.same(answers.texts[n], reference.texts[n])

    def _guards(
        self, answers: Answers, references: Mapping[str, Answers], rows: Sequence[int]
    ) -> tuple[Guard, ...]:
        known = [n for n in rows if self.approved[n] is not None]
        approved = [self.approved[n] or "" for n in known]
        texts, scores = [answers.texts[n] for n in known], [answers.scores[n] or 0.0 for n in known]
        belong = answers_belong(texts, approved, [self.clusters[n] for n in known], scores)
        served = references.get("active") or references["base_full"]
        return *check_texts(texts, approved, [served.texts[n] for n in known]), belong

    def _compare(
        self, name: str, answers: Answers, reference: Answers, rows: Sequence[int], level: float
    ) -> Comparison:
        """Answers of which nobody knows whether they are right are the same here, so that neither is better."""
        one, other = ([each.scores[n] or 0.0 for n in rows] for each in (answers, reference))
        pairs = Pairs(one, other, [self.clusters[n] for n in rows], self.right_or_wrong)
        lower = pairs.lower_bound(self.margin, 1 - level)
        passed = lower > -self.margin
        more = None if passed else pairs.more_needed(self.margin, 1 - level)
        return Comparison(name, float(pairs.differences.mean()), lower, passed, more)

    def decide(
        self, variants: Sequence[VariantVerdict], active_tokens: int, full_tokens: int, same_prompt: bool
    ) -> Verdict:
        """The shortest variant that passed in sequence, if serving it gains something.

        `variants` are those that were tested, longest first. `active_tokens` is what a request's prompt costs now, and
        `full_tokens` what the whole one does; `same_prompt` says whether the active deployment belongs to the same
        prompt version.
        """
        passed = list(takewhile(lambda variant: variant.passed, variants))
        failed = variants[len(passed)] if len(passed) < len(variants) else None
        reasons = [self._why_failed(failed)] if failed else []
        more = _most_needed(failed) if failed else None
        for chosen in reversed(passed):
            if gain := self._gain(chosen, active_tokens, full_tokens, same_prompt):
                return Verdict(True, chosen, (gain, *reasons), more, failed)
        if not passed:
            return Verdict(False, variants[0], tuple(reasons), more, failed)
        nothing = (
            f"Nothing is gained: the shortest variant that passed needs {passed[-1].prompt_tokens:,} prompt tokens, "
            f"{active_tokens:,} are served now, and its answers are not better by {100 * self.margin:g} points."
        )
        return Verdict(False, passed[-1], (nothing, *reasons), more, failed)

    def is_futile(
        self, variant: VariantVerdict, active_tokens: int, full_tokens: int, same_prompt: bool
    ) -> bool:
        """Whether a variant cuts so little that it would have to be better, and is not by what people have said of the
        first look, or clearly not by the rated examples alone: then they are asked no more. That spends nothing of the
        5 %.
        """
        active = next((one for one in variant.comparisons if one.reference == "active"), None)
        if active is None or variant.undecided or _is_cut(variant, active_tokens, full_tokens, same_prompt):
            return False
        if variant.unrated:
            return 2 * active.difference < self.margin
        # A standard error above what was seen, or a little less.
        return not variant.passed and active.difference + (active.difference - active.lower) / 2 < self.margin

    def _gain(
        self, variant: VariantVerdict, active_tokens: int, full_tokens: int, same_prompt: bool
    ) -> str | None:
        """What serving a variant that passed brings, as a sentence; None when it brings nothing."""
        if _is_cut(variant, active_tokens, full_tokens, same_prompt):
            return (
                f"A prompt of {variant.prompt_tokens:,} tokens instead of {active_tokens:,} is, with "
                f"{100 * CONFIDENCE:g} % confidence, less than {100 * self.margin:g} points worse than every "
                "reference."
            )
        better = [c for c in variant.comparisons if c.reference == "active" and c.difference >= self.margin]
        if variant.prompt_tokens <= _AS_LONG * active_tokens and better:
            return (
                f"The prompt stays at about {active_tokens:,} tokens, and on the questions asked the answers are "
                f"better than the active ones by {100 * better[0].difference:.1f} points (at least "
                f"{100 * better[0].lower:+.1f}, with {100 * CONFIDENCE:g} % confidence)."
            )
        return None

    def _why_failed(self, variant: VariantVerdict) -> str:
        if asked := len(variant.undecided):
            return (
                f"The prompt of {variant.prompt_tokens:,} tokens needs about {asked:,} more judgements: so many "
                "questions it answers in another way than what it is compared with."
            )
        sentences = []
        for item in variant.comparisons:
            if not item.passed:
                sentence = (
                    f"against {REFERENCES[item.reference]} it scores {100 * item.difference:+.1f} "
                    f"points, and a loss of {-100 * item.lower:.1f} cannot be ruled out ({100 * self.margin:g} allowed)"
                )
                if item.more_examples is not None:
                    sentence += f"; not enough evidence, about {item.more_examples} more gate examples"
                sentences.append(sentence)
        sentences += [f"{guard.name}: {guard.detail}" for guard in variant.guards if not guard.passed]
        return f"The prompt of {variant.prompt_tokens:,} tokens failed: {'. '.join(sentences)}."


def _is_cut(variant: VariantVerdict, active_tokens: int, full_tokens: int, same_prompt: bool) -> bool:
    """An edited prompt may be longer than the one before."""
    return not same_prompt or active_tokens - variant.prompt_tokens >= max(1, _LEAST_CUT * full_tokens)


def _most_needed(variant: VariantVerdict) -> int | None:
    needed = [comparison.more_examples for comparison in variant.comparisons if not comparison.passed]
    return None if None in needed else max((more for more in needed if more), default=None)
