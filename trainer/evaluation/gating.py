"""A candidate and the servers to the gate's verdict: generates what the gate compares, variant after variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from assistant.rendering import keep, prompt_tokens
from assistant.vllm_pool import VllmPool
from store.gate_answers import GateAnswer
from store.records import Dataset, Deployment, Example, Split
from trainer.context import TrainingContext
from trainer.evaluation import gate, general_questions
from trainer.evaluation.approvals import approved_answers, best
from trainer.evaluation.evaluate import answer_all
from trainer.evaluation.gate import Answers, VariantVerdict, Verdict
from trainer.evaluation.guards import Guard
from trainer.evaluation.proposing import judgement_requests, worth_asking
from trainer.evaluation.scorers import Scorer, chrf, right_or_wrong, scorer
from trainer.evaluation.statistics import interval
from trainer.evaluation.variants import gate_sequence
from trainer.notes import Notes
from trainer.training.candidate import Candidate

# Margins that a refused variant may lie behind, and people are still asked whether its answers would do.
_MOST_LOST = 3.0


class Gating:
    """One gate: references first, then variant after variant until one fails.

    `heard` are the answers of an earlier hearing of the same candidate, text by position for each system: they are
    scored again by what people approve of now, and only what is missing is asked for.
    """

    def __init__(
        self,
        w: TrainingContext,
        pool: VllmPool,
        dataset: Dataset,
        candidate: Candidate,
        active: Deployment | None,
        notes: Notes,
        heard: Mapping[str, Mapping[int, str]] | None = None,
    ):
        self._w, self._pool, self._candidate, self._active, self._notes = w, pool, candidate, active, notes
        self._assistant = w.store.assistants.get(dataset.assistant_id)
        self._prompt_id = dataset.prompt_id
        self._positions = [n for n, e in enumerate(dataset.examples) if e.split is Split.GATE]
        self._examples = [dataset.examples[position] for position in self._positions]
        decided = w.store.judgement_requests.decided(dataset.assistant_id)
        self._approved = approved_answers(self._examples, decided)
        self._clusters = [e.conversation_id for e in self._examples]
        self._longest = _answer_limit(w, [e.completion for e in self._examples])
        self._heard = heard
        # Where people are asked about a refused candidate, it may be heard twice: half of the 5 % for each time.
        asked = w.settings.judgement_requests > 0 and not right_or_wrong(self._assistant.scorer)
        self._confidence = (1 + gate.CONFIDENCE) / 2 if asked else gate.CONFIDENCE
        self._answers: dict[str, Answers] = {}
        self._variants: list[VariantVerdict] = []
        self._general: Answers | None = None  # the base model's, asked once

    async def judge(self) -> Verdict:
        """Raises VllmError, UnknownScorer."""
        full = self._candidate.variants[0]
        base_full = await self._answer("base_full", self._pool.base, self._prompt_id, full)
        await self._answer("base_empty", self._pool.base, self._prompt_id, ())
        references = {"base_full": base_full}
        if self._active is not None:
            references["active"] = await self._answer_active(full)
        references["candidate_full"] = await self._answer(
            "candidate_full", self._candidate.name, self._prompt_id, full
        )
        approved = [e.completion for e in self._examples]
        margin = self._w.settings.margin
        for number in self._sequence():
            segment_ids = self._candidate.variants[number]
            answers = references["candidate_full"]
            if number:
                answers = await self._answer(
                    f"variant {number}", self._candidate.name, self._prompt_id, segment_ids
                )
            variant = gate.judge_variant(
                number,
                segment_ids,
                answers,
                {name: given for name, given in references.items() if given is not answers},
                approved,
                self._clusters,
                margin,
                right_or_wrong(self._assistant.scorer),
                self._confidence,
            )
            if variant.passed:  # a variant that is refused anyway is not worth the questions
                variant = replace(
                    variant, guards=(*variant.guards, await self._ask_generally(number, segment_ids))
                )
            self._variants.append(variant)
            if not variant.passed:
                break
        same_prompt = self._active is not None and self._active.prompt_id == self._prompt_id
        active_tokens = self._active.prompt_tokens if self._active else base_full.prompt_tokens
        return gate.conclude(self._variants, active_tokens, same_prompt, margin, self._confidence)

    def _sequence(self) -> list[int]:
        segments = self._w.store.prompts.get(self._prompt_id).segments
        tokens = [
            prompt_tokens(self._w.tokenizer, keep(segments, segment_ids))
            for segment_ids in self._candidate.variants
        ]
        active = self._active
        served = tokens[0] if active is None or active.prompt_id != self._prompt_id else active.prompt_tokens
        return gate_sequence(self._candidate.dev_losses, tokens, served)

    def last_tested(self, verdict: Verdict) -> VariantVerdict:
        """The variant that a refusal is about: the one that gained nothing, else the one that failed."""
        return verdict.chosen or self._variants[-1]

    def judgement_requests(self, verdict: Verdict) -> list[tuple[str, str]]:
        """Answers of a refused variant that a person should be asked about.

        None where answers are right or wrong, and none at a second hearing: there is no third.
        """
        variant, settings = self.last_tested(verdict), self._w.settings
        asked = (
            settings.judgement_requests > 0
            and not right_or_wrong(self._assistant.scorer)
            and self._heard is None
        )
        if verdict.promoted or not asked or not worth_asking(variant, _MOST_LOST * settings.margin):
            return []
        return judgement_requests(
            self._examples, self._answers[_system(variant)], settings.judgement_requests
        )

    def answers(self) -> list[GateAnswer]:
        """Everything that was answered to the gate's examples."""
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
                "margin": self._w.settings.margin,
                "confidence": self._confidence,
                "hearing": 1 if self._heard is None else 2,
                "examples": len(self._examples),
                "accepted_since": sum(len(texts) - 1 for texts in self._approved),
                "scorer": self._assistant.scorer,
                "scores": scores,
                "variants": variants,
                "shown": _system(shown),
                "guards": [asdict(guard) for guard in shown.guards],
                "chosen_variant": verdict.chosen.variant if verdict.chosen else None,
                "reasons": list(verdict.reasons),
                "more_examples": verdict.more_examples,
                "performance_index": gate.performance_index(
                    shown.score.mean, self._mean("base_full"), self._mean("base_empty")
                ),
            },
            "before": {
                "prompt_tokens": before,
                "quality": self._score("active" if "active" in self._answers else "base_full"),
            },
            "after": {"prompt_tokens": shown.prompt_tokens, "quality": asdict(shown.score)},
        }

    async def _answer_active(self, full: Sequence[str]) -> Answers:
        active = self._active
        if active is None:
            raise ValueError("There is no active deployment to answer with.")
        if (
            active.adapter is None
            and active.prompt_id == self._prompt_id
            and set(active.segment_ids) == set(full)
        ):
            self._answers["active"] = self._answers["base_full"]  # the same requests; not asked twice
            return self._answers["active"]
        return await self._answer(
            "active", active.adapter or self._pool.base, active.prompt_id, active.segment_ids
        )

    async def _ask_generally(self, number: int, segment_ids: Sequence[str]) -> Guard:
        """What the candidate makes of questions that nobody trained on, beside the base model with the full prompt."""
        limit = min(general_questions.MAX_TOKENS, self._w.settings.max_answer_tokens)
        if self._general is None:
            questions, full = general_questions.as_examples(), self._candidate.variants[0]
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
            general_questions.as_examples(base),
            [(text,) for text in base],
            chrf,
            limit,
        )
        approved = [e.completion for e in self._examples]
        return general_questions.judge(base, found.texts, found.scores, approved)

    async def _answer(self, what: str, model: str, prompt_id: int, segment_ids: Sequence[str]) -> Answers:
        known = (self._heard or {}).get(what, {})
        if all(position in known for position in self._positions):
            self._answers[what] = self._score_again(
                [known[position] for position in self._positions], prompt_id, segment_ids
            )
            return self._answers[what]
        self._answers[what] = await self._generate(
            what,
            model,
            prompt_id,
            segment_ids,
            self._examples,
            self._approved,
            scorer(self._assistant.scorer),
            self._longest,
        )
        return self._answers[what]

    def _score_again(self, texts: Sequence[str], prompt_id: int, segment_ids: Sequence[str]) -> Answers:
        score, segments = scorer(self._assistant.scorer), self._w.store.prompts.get(prompt_id).segments
        scores = (best(score, text, right) for text, right in zip(texts, self._approved, strict=True))
        return Answers(
            tuple(texts), tuple(scores), prompt_tokens(self._w.tokenizer, keep(segments, segment_ids))
        )

    async def _generate(
        self,
        what: str,
        model: str,
        prompt_id: int,
        segment_ids: Sequence[str],
        examples: Sequence[Example],
        approved: Sequence[Sequence[str]],
        score: Scorer,
        limit: int,
    ) -> Answers:
        self._notes.add("gate", what=what, done=0, total=len(examples))
        return await answer_all(
            self._pool,
            self._w.tokenizer,
            model,
            keep(self._w.store.prompts.get(prompt_id).segments, segment_ids),
            examples,
            approved,
            score,
            limit,
            lambda done, total, left: self._notes.maybe(
                "gate", what=what, done=done, total=total, eta_s=round(left)
            ),
        )

    def _score(self, name: str) -> dict[str, float]:
        return asdict(interval(self._answers[name].scores, self._clusters))

    def _mean(self, name: str) -> float:
        return interval(self._answers[name].scores, self._clusters).mean


def _system(variant: VariantVerdict) -> str:
    """What the answers of a variant are kept under."""
    return f"variant {variant.variant}" if variant.variant else "candidate_full"


def _unscored(answer: str, approved: str) -> float:
    return 0.0


def _answer_limit(w: TrainingContext, approved: Sequence[str]) -> int:
    """Tokens after which every answer is cut off alike: room for one twice as long as the longest approved answer.

    Without it a base model that rambles up to the chat's limit takes more time than everything else in the gate.
    """
    longest = max(len(w.tokenizer.encode_text(text)) for text in approved)
    return min(w.settings.max_answer_tokens, 2 * longest + 16)
