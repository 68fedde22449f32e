"""The answers that each system gives alone: what every later answer has to equal.

Greedy answers are the same in every batch only where no decision is a near tie: the sums of a matrix product come in
another order when other rows share the batch, and the last bits differ. So questions count only where at every token,
for every system, the likeliest token leads by `LEAD` nats; how much log-probabilities really move is measured beside
it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from assistant.rendering import keep, render
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_connection import async_client
from store.records import Role, Segment

LEAD = 0.002  # nats; what a batch moves a log-probability by is in every result, as moved_by_a_batch_nats
_AT_ONCE = 32
_FEWEST = 4
_SPARE = 2  # questions asked alone beyond those wanted: a batch may have hidden a near tie
_SHAPES = (
    "Name two kinds of {}.",
    "What do people use {} for?",
    "Write one sentence about {}.",
    "Where does one find {}?",
    "Who works with {}?",
    "What is the opposite of {}?",
)
_THINGS = (
    *("fruit", "bread", "rivers", "birds", "shoes", "paper", "glass", "salt", "music", "trains", "gardens"),
    *("winter", "letters", "stones", "boats", "clocks", "wool", "bridges", "maps", "soup", "lamps", "horses"),
    *("windows", "coins", "trees", "rain", "doors", "knives", "honey", "roads"),
)


@dataclass(frozen=True)
class System:
    """What answers: weights by the name of their first publication (None: the base model), and the kept segments."""

    weights: str | None
    segment_ids: tuple[str, ...]


@dataclass(frozen=True)
class Alone:
    """An answer given alone: its tokens, the ln p of each, its text, and the smallest lead of a token over the next."""

    tokens: tuple[int, ...]
    ln_p: tuple[float, ...]
    text: str
    lead: float


class References:
    """Answers of every system to every question whose answers differ clearly."""

    def __init__(self, answers: dict[tuple[System, str], Alone], tried: int, clear: int, moved: float):
        """`moved`: how far ln p of the same tokens was from that in a batch, at most, in nats."""
        self._answers = answers
        self.tried, self.clear, self.moved = tried, clear, moved
        self.questions = sorted({question for _, question in answers})

    def of(self, system: System, question: str) -> Alone:
        return self._answers[system, question]

    def as_record(self) -> dict[str, Any]:
        """What the references are worth, for a result."""
        return {
            "questions_tried": self.tried,
            "questions_differ": self.clear,
            "questions": len(self.questions),
            "smallest_lead_nats": min(answer.lead for answer in self._answers.values()),
            "moved_by_a_batch_nats": self.moved,
        }


class Greedy:
    """Whole greedy answers of one server with their tokens, which the product's own client has no need of."""

    def __init__(self, url: str, tokenizer: ChatTokenizer, limit: int):
        self._http = async_client(url, None, 600.0)
        self._tokenizer, self._limit = tokenizer, limit

    async def close(self) -> None:
        await self._http.aclose()

    async def answer(self, model: str, segments: Sequence[Segment], question: str) -> Alone:
        """Raises httpx.HTTPError."""
        request = {
            "model": model,
            "prompt": list(render(self._tokenizer, segments, ((Role.USER, question),)).ids),
            "max_tokens": self._limit,
            "temperature": 0,
            "stop_token_ids": list(self._tokenizer.end_ids),
            "logprobs": 2,
            "return_token_ids": True,
        }
        response = await self._http.post("/v1/completions", json=request)
        response.raise_for_status()
        choice: dict[str, Any] = response.json()["choices"][0]
        logprobs = choice["logprobs"]
        leads = [
            max(best) - min(best) for top in logprobs["top_logprobs"] if len(best := list(top.values())) > 1
        ]
        return Alone(
            tuple(choice["token_ids"]),
            tuple(logprobs["token_logprobs"]),
            choice["text"],
            min(leads, default=0.0),
        )


async def find_references(
    greedy: Greedy,
    names: Mapping[System, str],
    segments: Sequence[Segment],
    questions: Sequence[str],
    wanted: int,
    on_progress: Callable[[str], None],
) -> References:
    """Ask all at once, to find up to `wanted` questions with clearly different answers; then ask these alone.

    `names` are the models that serve the systems meanwhile. A question counts where no decision is a near tie, and
    where the systems all answer differently. Raises ValueError where there are too few, httpx.HTTPError.
    """
    slots = asyncio.Semaphore(_AT_ONCE)

    async def ask(system: System, question: str) -> Alone:
        async with slots:
            return await greedy.answer(names[system], keep(segments, system.segment_ids), question)

    asked = [(system, question) for question in questions for system in names]
    on_progress(f"{len(questions)} questions to {len(names)} systems, {_AT_ONCE} at once")
    together = dict(zip(asked, await asyncio.gather(*(ask(*one) for one in asked)), strict=True))
    clear = [q for q in questions if _differ([together[system, q] for system in names])]
    on_progress(
        f"{len(clear)} of them have clearly different answers; {min(wanted, len(clear))} are asked alone"
    )
    slots = asyncio.Semaphore(1)
    alone = {(system, q): await ask(system, q) for q in clear[: wanted + _SPARE] for system in names}
    moved = max((_moved(alone[one], together[one]) for one in alone), default=0.0)
    clear_questions = [
        q for q in clear if (next(iter(names)), q) in alone and _differ([alone[s, q] for s in names])
    ][:wanted]
    if len(clear_questions) < _FEWEST:
        raise ValueError(
            f"Of {len(questions)} questions only {len(clear_questions)} have clearly different answers, not {_FEWEST}."
        )
    return References(
        {(s, q): alone[s, q] for q in clear_questions for s in names}, len(questions), len(clear), moved
    )


def _differ(answers: Sequence[Alone]) -> bool:
    different = len({answer.tokens for answer in answers}) == len(answers)
    return different and all(answer.lead >= LEAD for answer in answers)


def _moved(alone: Alone, together: Alone) -> float:
    """The most by which ln p of the same token differs, in nats, up to where the answers part."""
    gaps = [0.0]
    for token, ln_p, other, other_ln_p in zip(
        alone.tokens, alone.ln_p, together.tokens, together.ln_p, strict=False
    ):
        if token != other:
            break
        gaps.append(abs(ln_p - other_ln_p))
    return max(gaps)


def questions(count: int) -> list[str]:
    """At most 180 short questions, always the same, that only have to be answered the same way every time."""
    return [shape.format(thing) for thing, shape in product(_THINGS, _SHAPES)][:count]
