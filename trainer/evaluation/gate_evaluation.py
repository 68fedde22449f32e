"""Evaluates a candidate at the gate: generates answers, then tests variant after variant until one fails."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import chain
from types import MappingProxyType
from typing import Any

from assistant.rendering import Context, Rendered, keep
from assistant.vllm_client import VllmUnreachable
from assistant.vllm_pool import VllmPool
from store.outdated import OutdatedFacts, judged_at, outdated_answers
from store.records import Deployment, Example, Role, Split
from store.runs import GateAnswer
from trainer.candidate import Candidate
from trainer.context import Retrain
from trainer.evaluation import guards, judgements
from trainer.evaluation.gate import CONFIDENCE, MOST_UNRATED, Answers, Gate, VariantVerdict, Verdict
from trainer.evaluation.gate_requests import GateRequests, System, mean_tokens, retrieves
from trainer.evaluation.scorers import right_or_wrong, scorer
from trainer.evaluation.variants import gate_sequence
from trainer.examples.deduplicate import position_of

# Margins that a refused variant may lie behind, and people are still asked whether its answers would do.
_MOST_LOST = 3.0
# Without training a variant is tested that costs at most this share of what is served: where the instructions are long,
# they and approved answers are hardly shorter than the prompt, and their test would stand in the way of a real cut.
_WORTH_IT = 0.7
_MOST_OUTDATED = 20  # answers that an edit has made wrong, the newest
_TRIES = 3  # of a request that does not reach a server


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
        passed: int = -1,
    ):
        """`is_second`: people have judged its answers since it was evaluated first; `passed` is the variant that was
        promoted then, after which the sequence goes on. Raises UnknownScorer.
        """
        dataset, store, settings = retrain.dataset, retrain.store, retrain.context.settings
        self._store, self._tokenizer, self._settings = store, retrain.context.tokenizer, settings
        self._pool, self._progress, self._candidate = pool, retrain.progress, candidate
        self._assistant_id, self._retriever = dataset.assistant_id, retrain.context.retriever
        train_ids = {e.message_id for e in dataset.examples if e.split is Split.TRAIN}
        room = retrain.context.address.context - settings.max_answer_tokens
        prompt = store.prompts.get(dataset.prompt_id)
        run_id = retrain.run.id
        self._requests = GateRequests(run_id, prompt, self._tokenizer, self._retriever, train_ids, room)
        self._known_answers, self._is_second, self._passed = known_answers, is_second, passed
        self._same_prompt = active is not None and active.prompt_id == dataset.prompt_id
        self._references = [
            System("base_full", pool.base, keep(prompt.segments, candidate.variants[0].segment_ids))
        ]
        # A candidate that finds approved answers has fewer of them here than when it serves, and so has what it is
        # compared with. One that finds none has to beat what is served as it is.
        finds_all = not all(map(retrieves, candidate.variants[1:] or candidate.variants))
        if active is not None:
            served_prompt = store.prompts.get(active.prompt_id)
            self._references.append(self._requests.served(active, pool.base, served_prompt, finds_all))
        self._examples = _gate_examples(dataset.examples)
        examples = list(self._examples.values())
        self._limit = self._answer_limit()
        decided = store.judgement_requests.decided(dataset.assistant_id)
        self._right = judgements.approved_answers(examples, decided)
        self._wrong = judgements.refused_answers(examples, decided)
        self._scorer_name = store.assistants.get(dataset.assistant_id).scorer
        self._scorer = scorer(self._scorer_name)
        is_right_or_wrong = right_or_wrong(self._scorer_name)
        # Where people are asked about a refused candidate, it may be evaluated twice: half of the 5 % for each time.
        asks = settings.judgement_requests > 0 and candidate.name is not None
        self._asks_people = asks and not is_right_or_wrong
        unrated = sum(not e.approved for e in examples)
        # Where rated questions find each other's answers, tests err more often than they say: half of the 5 %.
        are_dependent = finds_all and not unrated and active is not None and retrieves(active)
        self._gate = Gate(
            [right[0] if right else None for right in self._right],
            [e.conversation_id for e in examples],
            settings.margin,
            is_right_or_wrong,
            (1 + CONFIDENCE) / 2 if self._asks_people or are_dependent else CONFIDENCE,
            unrated,
            lambda one, other: one.strip() == other.strip() or self._scorer(one, other) == 1.0,
        )
        self._answers: dict[str, Answers] = {}
        self._variants: list[VariantVerdict] = []
        self._asked_about: list[int] = []  # the variant that failed, and those after it that have answered
        self._texts: dict[tuple[str, int, tuple[int, ...]], str] = {}  # by model, limit and request

    async def evaluate(self) -> Verdict:
        """Raises VllmError, ScorerFailed, EmbeddingError."""
        # A question that comes before the app has made them would find few of the newest answers.
        await asyncio.to_thread(self._retriever.prepare)
        for reference in self._references:
            await self._answer(reference, self._gate.rated)
        sequence = self._sequence()
        for place, number in enumerate(sequence, start=1):
            variant = await self._test(number)
            self._variants.append(variant)
            if not variant.passed:
                self._asked_about = [number]
                if self._wants_judgements(variant):
                    await self._answer_shorter(sequence[place:])
                break
        return self._gate.decide(self._variants, *self._tokens())

    def _tokens(self) -> tuple[int, int, bool]:
        """What a request's prompt costs now, what the whole one does, and whether both are of one prompt."""
        return self._served().prompt_tokens, self._answers["base_full"].prompt_tokens, self._same_prompt

    def _sequence(self) -> list[int]:
        """Which variants are tested, by their mean tokens on the gate's rated questions."""
        contexts = [e.context for e in self._examples.values() if e.approved]
        systems = map(self._variant, range(len(self._candidate.variants)))
        tokens = [mean_tokens(self._requests.of(system, contexts)) for system in systems]
        served = self._served().prompt_tokens if self._same_prompt else max(tokens)
        if self._candidate.name is None:
            served = round(_WORTH_IT * served)
        numbers = gate_sequence(self._candidate.dev_losses, tokens, served)
        # The base model with its full prompt is what everything is compared with, and no candidate.
        return [n for n in numbers if n > self._passed and (n or self._candidate.name)]

    def _variant(self, number: int) -> System:
        sent, model = self._candidate.variants[number], self._candidate.name or self._pool.base
        return self._requests.variant(_name(number), model, sent)

    async def _test(self, number: int) -> VariantVerdict:
        system, looks = self._variant(number), self._gate.looks()
        if self._gate.unrated:
            variant = await self._look(system, number, (0, looks[0][1]))
            if self._gate.is_futile(variant, *self._tokens()):
                return variant
        for look in looks:
            variant = await self._look(system, number, look)
            if variant.is_settled or self._gate.is_futile(variant, *self._tokens()):
                break
        if not variant.passed:  # one that is refused anyway is not worth the general questions
            return variant
        general = await self._check_general_answers(system)
        outdated = await self._check_outdated_answers(system)
        return replace(variant, guards=(*variant.guards, general, *outdated))

    async def _look(self, system: System, number: int, look: tuple[int, float]) -> VariantVerdict:
        for one in (*self._references, system):
            await self._answer(one, self._gate.rated + look[0])
        sent, answers = self._candidate.variants[number], self._answers[system.name]
        return self._gate.look(number, sent, answers, self._of_references(), look)

    def _wants_judgements(self, variant: VariantVerdict) -> bool:
        """Whether people judge the answers of a variant that failed, where answers are graded: once."""
        asks = self._asks_people and not self._is_second
        return asks and judgements.worth_asking(variant, _MOST_LOST * self._settings.margin)

    async def _answer_shorter(self, numbers: Sequence[int]) -> None:
        """Let the variants answer that come after one that failed: people judge theirs with the others, or the next
        evaluation would know what is right of the longer variant's answers and not of the shorter's.
        """
        for number in numbers:
            await self._answer(self._variant(number), self._gate.rated)
            self._asked_about.append(number)

    def _of_references(self) -> dict[str, Answers]:
        return {one.name: self._answers[one.name] for one in self._references}

    async def _check_general_answers(self, system: System) -> guards.Guard:
        """The candidate's answers to questions that nobody trained on, beside those of base + full prompt."""
        limit = min(guards.GENERAL_MAX_TOKENS, self._settings.max_answer_tokens)
        questions: list[Context] = [((Role.USER, question),) for question in guards.QUESTIONS]
        of_base, found = await self._of_both("general questions", questions, system, limit)
        approved = [text for text in self._gate.approved if text is not None]
        return guards.check_general_answers(of_base, found, approved)

    async def _check_outdated_answers(self, system: System) -> list[guards.Guard]:
        """Where an edit has taken something out of the prompt: what is answered now where it was the answer before."""
        facts = OutdatedFacts(self._store.prompts.all(self._assistant_id))
        asked = outdated_answers(self._store, self._assistant_id)[-_MOST_OUTDATED:]
        if not asked:
            return []
        both = await self._of_both("edited questions", [one.context for one in asked], system, self._limit)
        times = [judged_at(one.ratings, one.decision) for one in asked]
        of_base, found = (sum(map(facts.mentions_any, texts, times)) for texts in both)
        return [guards.check_outdated(of_base, found, len(asked), self._gate.margin)]

    async def _of_both(
        self, what: str, contexts: Sequence[Context], system: System, limit: int
    ) -> list[list[str]]:
        """What base + full prompt and the candidate's variant answer."""
        return [
            await self._generate(f"{what}, {one.name}", one.model, self._requests.of(one, contexts), limit)
            for one in (self._references[0], system)
        ]

    async def _answer(self, system: System, count: int) -> None:
        """Record the system's answers to the first examples and their scores; known texts are not asked for again."""
        if system.name in self._answers and len(self._answers[system.name].texts) >= count:
            return
        known = self._known_answers.get(system.name, {})
        requests = self._requests.of(system, [e.context for e in self._examples.values()][:count])
        for position, request in zip(self._examples, requests, strict=False):
            if position in known and not request.copied:
                self._texts[system.model, self._limit, request.ids] = known[position]
        texts = await self._generate(system.name, system.model, requests, self._limit)
        judged = zip(texts, self._right, self._wrong, strict=False)
        scores = [judgements.known_score(self._scorer, text, right, wrong) for text, right, wrong in judged]
        self._answers[system.name] = Answers(tuple(texts), tuple(scores), mean_tokens(requests))

    def _answer_limit(self) -> int:
        """Tokens after which every answer is cut off alike: room for one twice as long as the longest approved answer.

        Without it a base model that rambles up to the chat's limit takes more time than everything else in the gate.
        """
        approved = (e.completion for e in self._examples.values() if e.approved)
        longest = max(len(self._tokenizer.encode_text(text)) for text in approved)
        return min(self._settings.max_answer_tokens, 2 * longest + 16)

    async def _generate(self, what: str, model: str, requests: Sequence[Rendered], limit: int) -> list[str]:
        """Answer every request greedily through the served path; one that was answered already is not sent again."""
        every = dict.fromkeys((model, limit, one.ids) for one in requests if not one.copied)
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
        return [one.copied or self._texts[model, limit, one.ids] for one in requests]

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
        """Answers of a variant that failed that people should judge, as (message id, text): what its next test waits
        for; where answers are graded, those about which a word would change most, once.
        """
        examples, failed = [*self._examples.values()], verdict.failed
        if failed is None:
            return []
        if failed.undecided:
            compared = self._of_references()
            if verdict.promoted:  # it is what is served by the next evaluation
                compared["active"] = self._answers[_name(verdict.variant.variant)]
            systems = [self._answers[_name(failed.variant)], *compared.values()]
            return judgements.differing_answers(examples, systems, failed.undecided, self._scorer)
        if not self._wants_judgements(failed):
            return []
        most = self._settings.judgement_requests
        found = [
            judgements.judgement_requests(examples, self._answers[_name(number)], most)
            for number in self._asked_about
        ]
        return list(dict.fromkeys(chain.from_iterable(found)))

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
            name: {**asdict(self._gate.quality(answers)), "prompt_tokens": answers.prompt_tokens}
            for name, answers in self._of_references().items()
        }
        tested = {variant.variant: variant.as_record() for variant in self._variants}
        variants = [
            tested.get(number, {"variant": number, **asdict(sent), "tested": False})
            for number, sent in enumerate(self._candidate.variants)
        ]
        shown, served = verdict.variant, self._served()
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
                "shown": _name(shown.variant),
                "guards": [asdict(guard) for guard in shown.guards],
                "chosen_variant": shown.variant if verdict.promoted else None,
                "reasons": list(verdict.reasons),
                "more_examples": verdict.more_examples,
            },
            "before": {"prompt_tokens": served.prompt_tokens, "quality": asdict(self._gate.quality(served))},
            "after": {"prompt_tokens": shown.prompt_tokens, "quality": asdict(shown.score)},
        }

    def _served(self) -> Answers:
        return self._answers[self._references[-1].name]


def _gate_examples(examples: Sequence[Example]) -> dict[int, Example]:
    """By their position in the dataset: approved ones, then the unrated ones in an order that says nothing of them."""
    asked = [(n, e) for n, e in enumerate(examples) if e.split is Split.GATE]
    rated = [each for each in asked if each[1].approved]
    unrated = sorted(
        (each for each in asked if not each[1].approved), key=lambda each: position_of(each[1].message_id)
    )
    return dict([*rated, *unrated[:MOST_UNRATED]])


def _name(variant: int) -> str:
    """What the answers of a variant are recorded under."""
    return f"variant {variant}"
