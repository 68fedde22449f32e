"""Evaluates a candidate at the gate: generates answers, then tests variant after variant until one fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any

from assistant.rendering import Rendered, fit_demonstrations, keep, render
from assistant.retrieval import Allowed
from assistant.vllm_client import VllmUnreachable
from assistant.vllm_pool import VllmPool
from store.demonstrations import Demonstration
from store.outdated import OutdatedFacts, judged_at, outdated_answers
from store.records import Deployment, Example, Role, Segment, Split, Variant
from store.runs import GateAnswer
from trainer.candidate import Candidate
from trainer.context import Retrain
from trainer.evaluation.gate import (
    CONFIDENCE,
    MOST_UNRATED,
    REFERENCES,
    Answers,
    Gate,
    VariantVerdict,
    Verdict,
)
from trainer.evaluation.guards import (
    GENERAL_MAX_TOKENS,
    QUESTIONS,
    Guard,
    check_general_answers,
    check_outdated,
)
from trainer.evaluation.judgements import (
    approved_answers,
    differing_answers,
    judgement_requests,
    known_score,
    refused_answers,
    worth_asking,
)
from trainer.evaluation.scorers import right_or_wrong, scorer
from trainer.evaluation.variants import gate_sequence
from trainer.examples.deduplicate import position_of
from trainer.examples.similar import question_of
from trainer.examples.wording import near, wording

# Margins that a refused variant may lie behind, and people are still asked whether its answers would do.
_MOST_LOST = 3.0
# Without training a variant is tested that costs at most this share of what is served: where the instructions are long,
# they and approved answers are hardly shorter than the prompt, and their test would stand in the way of a real cut.
_WORTH_IT = 0.7
_MOST_OUTDATED = 20  # answers that an edit has made wrong, the newest
_TRIES = 3  # of a request that does not reach a server

Context = tuple[tuple[Role, str], ...]
# Finds demonstrations for a question, of those that are allowed.
Retrieve = Callable[[str, Allowed], Sequence[Demonstration]]


class GateEvaluation:
    """One evaluation of a candidate: references first, then variant after variant until one fails.

    `known_answers` are text by position for each system that has answered these questions before: they are scored by
    what people approve of now, and only what is missing is generated.
    """

    def __init__(
        self,
        retrain: Retrain,
        pool: VllmPool,
        candidate: Candidate,
        active: Deployment | None,
        known_answers: Mapping[str, Mapping[int, str]] = MappingProxyType({}),
        is_second: bool = False,
    ):
        """`is_second`: it was refused once, and people have judged its answers since. Raises UnknownScorer."""
        dataset, store, settings = retrain.dataset, retrain.store, retrain.context.settings
        self._store, self._tokenizer, self._settings = store, retrain.context.tokenizer, settings
        self._pool, self._progress = pool, retrain.progress
        self._candidate, self._active, self._prompt_id = candidate, active, dataset.prompt_id
        self._assistant_id, self._retriever = dataset.assistant_id, retrain.context.retriever
        self._room = retrain.context.address.context - settings.max_answer_tokens
        self._known_answers, self._is_second = known_answers, is_second
        self._model = candidate.name or pool.base
        self._examples = _gate_examples(dataset.examples)
        examples = list(self._examples.values())
        self._train_ids = {e.message_id for e in dataset.examples if e.split is Split.TRAIN}
        decided = store.judgement_requests.decided(dataset.assistant_id)
        self._right, self._wrong = approved_answers(examples, decided), refused_answers(examples, decided)
        self._scorer_name = store.assistants.get(dataset.assistant_id).scorer
        self._scorer = scorer(self._scorer_name)
        is_right_or_wrong = right_or_wrong(self._scorer_name)
        # Where people are asked about a refused candidate, it may be evaluated twice: half of the 5 % for each time.
        asks = settings.judgement_requests > 0 and candidate.name is not None
        self._asks_people = asks and not is_right_or_wrong
        self._gate = Gate(
            [right[0] if right else None for right in self._right],
            [e.conversation_id for e in examples],
            settings.margin,
            is_right_or_wrong,
            (1 + CONFIDENCE) / 2 if self._asks_people else CONFIDENCE,
            sum(not e.approved for e in examples),
            lambda one, other: one.strip() == other.strip() or self._scorer(one, other) == 1.0,
        )
        self._answers: dict[str, Answers] = {}
        self._variants: list[VariantVerdict] = []
        self._texts: dict[tuple[str, int, tuple[int, ...]], str] = {}  # by model, limit and request

    async def evaluate(self) -> Verdict:
        """Raises VllmError, ScorerFailed."""
        await self._answer_as_references(self._gate.rated)
        for number in self._sequence():
            variant = await self._test(number)
            self._variants.append(variant)
            if not variant.passed:
                break
        same_prompt = self._active is not None and self._active.prompt_id == self._prompt_id
        return self._gate.decide(self._variants, self._served_tokens(), same_prompt)

    async def _answer_as_references(self, count: int) -> None:
        base, full, active = self._pool.base, self._candidate.variants[0], self._active
        await self._answer("base_full", count, base, self._prompt_id, full.segment_ids)
        if active is not None:
            await self._answer(
                "active",
                count,
                active.adapter or base,
                active.prompt_id,
                active.segment_ids,
                lambda question, allowed: self._retriever.for_deployment(active, question, allowed),
            )

    def _sequence(self) -> list[int]:
        tokens = [self._expected_tokens(variant) for variant in self._candidate.variants]
        active = self._active
        same_prompt = active is not None and active.prompt_id == self._prompt_id
        served = self._answers["active"].prompt_tokens if same_prompt else max(tokens)
        if self._candidate.name is None:
            served = round(_WORTH_IT * served)
        numbers = gate_sequence(self._candidate.dev_losses, tokens, served)
        # The base model with its full prompt is what everything is compared with, and no candidate.
        return [number for number in numbers if number or self._candidate.name]

    def _expected_tokens(self, variant: Variant) -> int:
        """Mean tokens of its segments and demonstrations on the gate's rated questions."""
        segments = self._segments(self._prompt_id, variant.segment_ids)
        contexts = [e.context for e in self._examples.values() if e.approved]
        requests = self._render(segments, contexts, self._nearest(variant))
        return _mean_tokens(requests)

    def _nearest(self, variant: Variant) -> Retrieve:
        most = variant.demonstrations
        return lambda text, allowed: self._retriever.nearest(self._assistant_id, text, most, allowed)

    def _shown(
        self, segments: Sequence[Segment], context: Context, retrieve: Retrieve
    ) -> Sequence[Demonstration]:
        """What a request shows: train examples of the frozen dataset alone, and none that asks the same."""
        asked = question_of(context)

        def allowed(one: Demonstration) -> bool:
            return one.message_id in self._train_ids and not near(wording(one.question), asked)

        found = retrieve(context[-1][1], allowed)
        return fit_demonstrations(self._tokenizer, segments, context, found, self._room)

    async def _test(self, number: int) -> VariantVerdict:
        sent, system = self._candidate.variants[number], _system(number)
        for look in self._gate.looks():
            count = self._gate.rated + look[0]
            await self._answer_as_references(count)
            await self._answer(
                system, count, self._model, self._prompt_id, sent.segment_ids, self._nearest(sent)
            )
            variant = self._gate.look(number, sent, self._answers[system], self._references(), look)
            if variant.is_settled:
                break
        if not variant.passed:  # one that is refused anyway is not worth the general questions
            return variant
        guards = [await self._check_general_answers(number), *await self._check_outdated_answers(number)]
        return replace(variant, guards=(*variant.guards, *guards))

    def _references(self) -> dict[str, Answers]:
        return {name: self._answers[name] for name in REFERENCES if name in self._answers}

    async def _check_general_answers(self, number: int) -> Guard:
        """The candidate's answers to questions that nobody trained on, beside those of base + full prompt."""
        limit = min(GENERAL_MAX_TOKENS, self._settings.max_answer_tokens)
        questions: list[Context] = [((Role.USER, question),) for question in QUESTIONS]
        of_base, found = await self._of_both("general questions", questions, number, limit)
        return check_general_answers(
            of_base, found, [text for text in self._gate.approved if text is not None]
        )

    async def _check_outdated_answers(self, number: int) -> list[Guard]:
        """Where an edit has taken something out of the prompt: what is answered now where it was the answer before."""
        facts = OutdatedFacts(self._store.prompts.all(self._assistant_id))
        asked = outdated_answers(self._store, self._assistant_id)[-_MOST_OUTDATED:]
        if not asked:
            return []
        contexts, limit = [one.context for one in asked], self._answer_limit()
        both = await self._of_both("edited questions", contexts, number, limit)
        of_base, found = (
            sum(
                facts.says_one(text, judged_at(o.ratings, o.decision))
                for text, o in zip(texts, asked, strict=True)
            )
            for texts in both
        )
        return [check_outdated(of_base, found, len(asked), self._gate.margin)]

    async def _of_both(
        self, what: str, contexts: Sequence[Context], number: int, limit: int
    ) -> tuple[list[str], list[str]]:
        """What base + full prompt and the candidate's variant answer."""

        async def answers(system: str, model: str, sent: Variant) -> list[str]:
            segments = self._segments(self._prompt_id, sent.segment_ids)
            requests = self._render(segments, contexts, self._nearest(sent))
            return await self._generate(f"{what}, {system}", model, requests, limit)

        variants = self._candidate.variants
        of_base = await answers("base_full", self._pool.base, variants[0])
        return of_base, await answers(_system(number), self._model, variants[number])

    async def _answer(
        self,
        system: str,
        count: int,
        model: str,
        prompt_id: int,
        segment_ids: Sequence[str],
        retrieve: Retrieve = lambda question, allowed: (),
    ) -> None:
        """Record the system's answers to the first examples and their scores; known texts are not asked for again."""
        if system in self._answers and len(self._answers[system].texts) >= count:
            return
        segments = self._segments(prompt_id, segment_ids)
        known = self._known_answers.get(system, {})
        contexts = [e.context for e in self._examples.values()][:count]
        requests = self._render(segments, contexts, retrieve)
        limit = self._answer_limit()
        for position, request in zip(self._examples, requests, strict=False):
            if position in known:
                self._texts[model, limit, request.ids] = known[position]
        texts = await self._generate(system, model, requests, limit)
        judged = zip(texts, self._right, self._wrong, strict=False)
        scores = [known_score(self._scorer, text, right, wrong) for text, right, wrong in judged]
        self._answers[system] = Answers(tuple(texts), tuple(scores), _mean_tokens(requests))

    def _render(
        self, segments: Sequence[Segment], contexts: Sequence[Context], retrieve: Retrieve
    ) -> list[Rendered]:
        return [
            render(self._tokenizer, segments, context, self._shown(segments, context, retrieve))
            for context in contexts
        ]

    def _segments(self, prompt_id: int, segment_ids: Sequence[str]) -> Sequence[Segment]:
        return keep(self._store.prompts.get(prompt_id).segments, segment_ids)

    def _answer_limit(self) -> int:
        """Tokens after which every answer is cut off alike: room for one twice as long as the longest approved answer.

        Without it a base model that rambles up to the chat's limit takes more time than everything else in the gate.
        """
        approved = (e.completion for e in self._examples.values() if e.approved)
        longest = max(len(self._tokenizer.encode_text(text)) for text in approved)
        return min(self._settings.max_answer_tokens, 2 * longest + 16)

    async def _generate(self, what: str, model: str, requests: Sequence[Rendered], limit: int) -> list[str]:
        """Answer every request greedily through the served path; one that was answered already is not sent again."""
        every = dict.fromkeys((model, limit, request.ids) for request in requests)
        missing = [key for key in every if key not in self._texts]
        total, done, started = len(missing), 0, time.monotonic()

        async def answer(key: tuple[str, int, tuple[int, ...]]) -> None:
            nonlocal done
            self._texts[key] = await self._complete(model, key[2], limit)
            done += 1
            eta = (time.monotonic() - started) / done * (total - done)
            self._progress.update("gate", what=what, done=done, total=total, eta_s=round(eta))

        if missing:
            self._progress.record("gate", what=what, done=0, total=total)
            # The first one alone: the others then find its prompt in the prefix cache, and do not all compute it.
            await answer(missing[0])
            await asyncio.gather(*map(answer, missing[1:]))
        return [self._texts[model, limit, request.ids] for request in requests]

    async def _complete(self, model: str, ids: Sequence[int], limit: int) -> str:
        async with self._pool.background():
            for attempt in range(_TRIES):
                try:
                    completion = await self._pool.complete(
                        model, ids, max_tokens=limit, end_ids=self._tokenizer.end_ids
                    )
                    break
                except VllmUnreachable:
                    if attempt == _TRIES - 1:
                        raise
                    await asyncio.sleep(2.0**attempt)
        return completion.text

    def judgement_requests(self, verdict: Verdict) -> list[tuple[str, str]]:
        """Answers of a refused candidate that people should judge, as (message id, text): what its next test waits for;
        where answers are graded, those about which a word would change most, once.
        """
        if verdict.failed is not None and verdict.failed.undecided:
            systems = [self._answers[_system(verdict.failed.variant)], *self._references().values()]
            return differing_answers(
                [*self._examples.values()], systems, verdict.failed.undecided, self._scorer
            )
        if not self._asks_people or self._is_second:
            return []
        if not worth_asking(verdict.variant, _MOST_LOST * self._settings.margin):
            return []
        answers = self._answers[_system(verdict.variant.variant)]
        return judgement_requests([*self._examples.values()], answers, self._settings.judgement_requests)

    def answers(self) -> list[GateAnswer]:
        """Every system's answer to each gate example; where nobody knows whether it is right, its score is 0."""
        return [
            GateAnswer(position, example.message_id, system, text, score or 0.0)
            for system, given in self._answers.items()
            for (position, example), text, score in zip(
                list(self._examples.items())[: len(given.texts)], given.texts, given.scores, strict=True
            )
        ]

    def report(self, verdict: Verdict) -> dict[str, Any]:
        """Plain JSON: what changed, and why to trust it."""
        scores = {
            name: {**self._quality(name), "prompt_tokens": self._answers[name].prompt_tokens}
            for name in ("base_full", "active")
            if name in self._answers
        }
        tested = {variant.variant: variant.as_record() for variant in self._variants}
        variants = [
            tested.get(number, {"variant": number, **asdict(sent), "tested": False})
            for number, sent in enumerate(self._candidate.variants)
        ]
        shown = verdict.variant
        return {
            "gate": {
                "promoted": verdict.promoted,
                "margin": self._gate.margin,
                "confidence": self._gate.confidence,
                "evaluation": 2 if self._is_second else 1,
                "examples": self._gate.rated,
                "unrated": shown.unrated,
                "judged": sum(bool(r or w) for r, w in zip(self._right, self._wrong, strict=True))
                - self._gate.rated,
                "accepted_since": sum(len(texts) - 1 for texts in self._right[: self._gate.rated]),
                "scorer": self._scorer_name,
                "scores": scores,
                "variants": variants,
                "shown": _system(shown.variant),
                "guards": [asdict(guard) for guard in shown.guards],
                "chosen_variant": shown.variant if verdict.promoted else None,
                "reasons": list(verdict.reasons),
                "more_examples": verdict.more_examples,
            },
            "before": {
                "prompt_tokens": self._served_tokens(),
                "quality": self._quality("active" if "active" in self._answers else "base_full"),
            },
            "after": {"prompt_tokens": shown.prompt_tokens, "quality": asdict(shown.score)},
        }

    def _served_tokens(self) -> int:
        return self._answers.get("active", self._answers["base_full"]).prompt_tokens

    def _quality(self, system: str) -> dict[str, float]:
        return asdict(self._gate.quality(self._answers[system]))


def _gate_examples(examples: Sequence[Example]) -> dict[int, Example]:
    """By their position in the dataset: approved ones, then the unrated ones in an order that says nothing of them."""
    asked = [(n, e) for n, e in enumerate(examples) if e.split is Split.GATE]
    rated = [each for each in asked if each[1].approved]
    unrated = sorted(
        (each for each in asked if not each[1].approved), key=lambda each: position_of(each[1].message_id)
    )
    return dict([*rated, *unrated[:MOST_UNRATED]])


def _system(variant: int) -> str:
    """What the answers of a variant are recorded under."""
    return f"variant {variant}"


def _mean_tokens(requests: Sequence[Rendered]) -> int:
    """Of the prompt's segments and the demonstrations."""
    return round(sum(one.prompt_part + one.demonstration_part for one in requests) / len(requests))
