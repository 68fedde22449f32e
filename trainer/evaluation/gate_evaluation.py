"""Evaluates a candidate at the gate: generates answers, then tests variant after variant until one fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from assistant.rendering import keep, prompt_tokens
from assistant.vllm_pool import VllmPool
from store.records import Dataset, Deployment, Example, Split
from store.runs import GateAnswer
from trainer.context import TrainingContext
from trainer.evaluation import gate, guards
from trainer.evaluation.gate import Answers, VariantVerdict, Verdict
from trainer.evaluation.generate import answer_all
from trainer.evaluation.guards import Guard
from trainer.evaluation.judgements import approved_answers, best, judgement_requests, worth_asking
from trainer.evaluation.scorers import Scorer, chrf, right_or_wrong, scorer
from trainer.evaluation.statistics import interval
from trainer.evaluation.variants import gate_sequence
from trainer.progress import RunProgress
from trainer.training.candidate import Candidate

# Margins that a refused variant may lie behind, and people are still asked whether its answers would do.
_MOST_LOST = 3.0


class GateEvaluation:
    """One evaluation of a candidate: references first, then variant after variant until one fails.

    `known_answers` are those of its first evaluation, text by position for each system: they are scored again by what
    people approve of now, and only what is missing is generated.
    """

    def __init__(
        self,
        context: TrainingContext,
        pool: VllmPool,
        dataset: Dataset,
        candidate: Candidate,
        active: Deployment | None,
        progress: RunProgress,
        known_answers: Mapping[str, Mapping[int, str]] | None = None,
    ):
        self._context, self._pool, self._progress = context, pool, progress
        self._candidate, self._active = candidate, active
        self._prompt_id = dataset.prompt_id
        self._positions = [n for n, e in enumerate(dataset.examples) if e.split is Split.GATE]
        self._examples = [dataset.examples[position] for position in self._positions]
        decided = context.store.judgement_requests.decided(dataset.assistant_id)
        self._accepted = approved_answers(self._examples, decided)
        self._clusters = [e.conversation_id for e in self._examples]
        self._max_tokens = _answer_limit(context, [e.completion for e in self._examples])
        self._known_answers = known_answers
        self._scorer_name = context.store.assistants.get(dataset.assistant_id).scorer
        self._right_or_wrong = right_or_wrong(self._scorer_name)
        # Where people are asked about a refused candidate, it may be evaluated twice: half of the 5 % for each time.
        self._asks_people = context.settings.judgement_requests > 0 and not self._right_or_wrong
        self._confidence = (1 + gate.CONFIDENCE) / 2 if self._asks_people else gate.CONFIDENCE
        self._answers: dict[str, Answers] = {}
        self._variants: list[VariantVerdict] = []
        self._general: Answers | None = None  # the base model's, generated once

    async def evaluate(self) -> Verdict:
        """Raises VllmError, UnknownScorer."""
        references = await self._answer_references()
        for number in self._sequence():
            variant = await self._test(number, references)
            self._variants.append(variant)
            if not variant.passed:
                break
        same_prompt = self._active is not None and self._active.prompt_id == self._prompt_id
        served = self._active.prompt_tokens if self._active else references["base_full"].prompt_tokens
        return gate.decide(
            self._variants, served, same_prompt, self._context.settings.margin, self._confidence
        )

    async def _answer_references(self) -> dict[str, Answers]:
        full = self._candidate.variants[0]
        references = {"base_full": await self._answer("base_full", self._pool.base, self._prompt_id, full)}
        await self._answer("base_empty", self._pool.base, self._prompt_id, ())
        if self._active is not None:
            references["active"] = await self._answer_active(self._active, full)
        references["candidate_full"] = await self._answer(
            "candidate_full", self._candidate.name, self._prompt_id, full
        )
        return references

    async def _test(self, number: int, references: Mapping[str, Answers]) -> VariantVerdict:
        segment_ids = self._candidate.variants[number]
        answers = references["candidate_full"]
        if number:
            answers = await self._answer(
                f"variant {number}", self._candidate.name, self._prompt_id, segment_ids
            )
        variant = gate.test_variant(
            number,
            segment_ids,
            answers,
            {name: given for name, given in references.items() if given is not answers},
            [e.completion for e in self._examples],
            self._clusters,
            self._context.settings.margin,
            self._right_or_wrong,
            self._confidence,
        )
        if not variant.passed:  # one that is refused anyway is not worth the general questions
            return variant
        return replace(
            variant, guards=(*variant.guards, await self._check_general_answers(number, segment_ids))
        )

    def _sequence(self) -> list[int]:
        segments = self._context.store.prompts.get(self._prompt_id).segments
        variants = self._candidate.variants
        tokens = [
            prompt_tokens(self._context.tokenizer, keep(segments, segment_ids)) for segment_ids in variants
        ]
        active = self._active
        served = tokens[0] if active is None or active.prompt_id != self._prompt_id else active.prompt_tokens
        return gate_sequence(self._candidate.dev_losses, tokens, served)

    def last_tested(self, verdict: Verdict) -> VariantVerdict:
        """The variant that a refusal is about: the one that gained nothing, else the one that failed."""
        return verdict.chosen or self._variants[-1]

    def judgement_requests(self, verdict: Verdict) -> list[tuple[str, str]]:
        """Answers of a refused variant that people should judge, as (message id, text).

        None where answers are right or wrong, and none at a re-evaluation: there is no third evaluation.
        """
        variant, settings = self.last_tested(verdict), self._context.settings
        ask = self._asks_people and self._known_answers is None and not verdict.promoted
        if not ask or not worth_asking(variant, _MOST_LOST * settings.margin):
            return []
        return judgement_requests(
            self._examples, self._answers[_system(variant)], settings.judgement_requests
        )

    def answers(self) -> list[GateAnswer]:
        """Every system's answer to each gate example."""
        return [
            GateAnswer(position, example.message_id, system, text, score)
            for system, given in self._answers.items()
            for position, example, text, score in zip(
                self._positions, self._examples, given.texts, given.scores, strict=True
            )
        ]

    def report(self, verdict: Verdict) -> dict[str, Any]:
        """Plain JSON: what changed, and why to trust it."""
        scores = {
            name: {**self._score(name), "prompt_tokens": self._answers[name].prompt_tokens}
            for name in ("base_full", "base_empty", "active", "candidate_full")
            if name in self._answers
        }
        shown = self.last_tested(verdict)
        tested = {variant.variant: gate.as_record(variant) for variant in self._variants}
        variants = [
            tested.get(number, {"variant": number, "segment_ids": list(segment_ids), "tested": False})
            for number, segment_ids in enumerate(self._candidate.variants)
        ]
        before = self._active.prompt_tokens if self._active else self._answers["base_full"].prompt_tokens
        return {
            "gate": {
                "promoted": verdict.promoted,
                "margin": self._context.settings.margin,
                "confidence": self._confidence,
                "evaluation": 1 if self._known_answers is None else 2,
                "examples": len(self._examples),
                "accepted_since": sum(len(texts) - 1 for texts in self._accepted),
                "scorer": self._scorer_name,
                "scores": scores,
                "variants": variants,
                "shown": _system(shown),
                "guards": [asdict(guard) for guard in shown.guards],
                "chosen_variant": verdict.chosen.variant if verdict.chosen else None,
                "reasons": list(verdict.reasons),
                "more_examples": verdict.more_examples,
                "performance_index": gate.performance_index(
                    shown.score.mean, scores["base_full"]["mean"], scores["base_empty"]["mean"]
                ),
            },
            "before": {
                "prompt_tokens": before,
                "quality": self._score("active" if "active" in self._answers else "base_full"),
            },
            "after": {"prompt_tokens": shown.prompt_tokens, "quality": asdict(shown.score)},
        }

    async def _answer_active(self, active: Deployment, full: Sequence[str]) -> Answers:
        if (
            active.adapter is None
            and active.prompt_id == self._prompt_id
            and set(active.segment_ids) == set(full)
        ):
            self._answers["active"] = self._answers["base_full"]  # the same requests; not sent twice
            return self._answers["active"]
        return await self._answer(
            "active", active.adapter or self._pool.base, active.prompt_id, active.segment_ids
        )

    async def _check_general_answers(self, number: int, segment_ids: Sequence[str]) -> Guard:
        """The candidate's answers to questions that nobody trained on, beside those of base + full prompt."""
        limit = min(guards.GENERAL_MAX_TOKENS, self._context.settings.max_answer_tokens)
        if self._general is None:
            questions, full = guards.general_examples(), self._candidate.variants[0]
            self._general = await self._generate(
                "general questions, base_full",
                self._pool.base,
                self._prompt_id,
                full,
                questions,
                [("",)] * len(questions),
                _unscored,
                limit,
            )
        base = self._general.texts
        found = await self._generate(
            f"general questions, variant {number}",
            self._candidate.name,
            self._prompt_id,
            segment_ids,
            guards.general_examples(base),
            [(text,) for text in base],
            chrf,
            limit,
        )
        approved = [e.completion for e in self._examples]
        return guards.check_general_answers(base, found.texts, found.scores, approved)

    async def _answer(self, system: str, model: str, prompt_id: int, segment_ids: Sequence[str]) -> Answers:
        """The system's answers to the gate examples; known ones are scored again."""
        known = (self._known_answers or {}).get(system, {})
        if all(position in known for position in self._positions):
            texts = [known[position] for position in self._positions]
            self._answers[system] = self._score_again(texts, prompt_id, segment_ids)
        else:
            self._answers[system] = await self._generate(
                system,
                model,
                prompt_id,
                segment_ids,
                self._examples,
                self._accepted,
                scorer(self._scorer_name),
                self._max_tokens,
            )
        return self._answers[system]

    def _score_again(self, texts: Sequence[str], prompt_id: int, segment_ids: Sequence[str]) -> Answers:
        score, segments = scorer(self._scorer_name), self._context.store.prompts.get(prompt_id).segments
        scores = (best(score, text, right) for text, right in zip(texts, self._accepted, strict=True))
        return Answers(
            tuple(texts), tuple(scores), prompt_tokens(self._context.tokenizer, keep(segments, segment_ids))
        )

    async def _generate(
        self,
        what: str,
        model: str,
        prompt_id: int,
        segment_ids: Sequence[str],
        examples: Sequence[Example],
        accepted: Sequence[Sequence[str]],
        score: Scorer,
        limit: int,
    ) -> Answers:
        self._progress.record("gate", what=what, done=0, total=len(examples))
        return await answer_all(
            self._pool,
            self._context.tokenizer,
            model,
            keep(self._context.store.prompts.get(prompt_id).segments, segment_ids),
            examples,
            accepted,
            score,
            limit,
            lambda done, total, left: self._progress.update(
                "gate", what=what, done=done, total=total, eta_s=round(left)
            ),
        )

    def _score(self, name: str) -> dict[str, float]:
        return asdict(interval(self._answers[name].scores, self._clusters))


def _system(variant: VariantVerdict) -> str:
    """What the answers of a variant are recorded under."""
    return f"variant {variant.variant}" if variant.variant else "candidate_full"


def _unscored(answer: str, approved: str) -> float:
    return 0.0


def _answer_limit(context: TrainingContext, approved: Sequence[str]) -> int:
    """Tokens after which every answer is cut off alike: room for one twice as long as the longest approved answer.

    Without it a base model that rambles up to the chat's limit takes more time than everything else in the gate.
    """
    longest = max(len(context.tokenizer.encode_text(text)) for text in approved)
    return min(context.settings.max_answer_tokens, 2 * longest + 16)
