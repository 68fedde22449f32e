"""A store of any size, made up from a seed in a minute: what a team leaves behind in a year.

It has two assistants (nine in ten conversations are the first one's), prompt versions, deployments that followed each
other, runs with events, a frozen dataset, conversations of one to 200 turns, answers generated again, and ratings of a
dozen raters with reasons, comments and corrections. Words are as frequent as in a language (Zipf).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from store import Store
from store.records import Deployment, Example, Role, RunStatus, Segment, SegmentKind, Split

ASSISTANTS = ("bank", "shop")
YEAR_S = 365 * 86400.0
END = 1_790_000_000.0  # UTC seconds; the last message is from then
RATERS = tuple(f"rater{number}" for number in range(12))
OWNERS = ("local", *(f"person{number}" for number in range(20)))
SOURCES = ("chat", "import", "sample")
REASONS = ("wrong", "too long", "too short", "rude", "off topic")
_BATCH = 20_000  # messages in one transaction
_VOCABULARY = 30_000
_DEPLOYMENTS, _RUNS, _EVENTS = 12, 40, 1_000
_FROZEN = 10_000  # examples of the dataset

_CONVERSATION = "INSERT INTO conversations"
_MESSAGE = """
    INSERT INTO messages (id, conversation_id, parent_id, role, text, created_at, status, deployment_id, prompt_tokens,
        prompt_part_tokens, cached_tokens, completion_tokens, first_token_s, total_s)"""
_RATING = "INSERT INTO ratings (id, message_id, rater, verdict, reason, comment, correction, created_at)"
_SPLIT = "INSERT INTO splits"


@dataclass
class _Rows:
    """What one transaction inserts."""

    conversations: list[tuple[Any, ...]] = field(default_factory=list)
    messages: list[tuple[Any, ...]] = field(default_factory=list)
    ratings: list[tuple[Any, ...]] = field(default_factory=list)
    splits: list[tuple[Any, ...]] = field(default_factory=list)


class Texts:
    """Made-up texts, of which any two differ."""

    def __init__(self, chance: np.random.Generator):
        self._chance = chance
        syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
        drawn = chance.integers(0, len(syllables), (_VOCABULARY, 4)).tolist()
        spelled = ["".join(syllables[place] for place in row[: 1 + n % 4]) for n, row in enumerate(drawn)]
        self.words = np.array(spelled)
        self._shares = np.cumsum(1 / np.arange(10, _VOCABULARY + 10))
        self._drawn: list[str] = []

    def of(self, least: int, most: int) -> str:
        """So many words, the first in capitals."""
        number = int(self._chance.integers(least, most + 1))
        if len(self._drawn) < number:
            places = np.searchsorted(self._shares, self._chance.random(500_000) * self._shares[-1])
            self._drawn = self.words[places].tolist()
        taken = self._drawn[-number:]
        del self._drawn[-number:]
        return " ".join(taken).capitalize() + "."


def make_store(
    store: Store, messages: int, ratings: int, seed: int, progress: Callable[[int, int], None]
) -> None:
    """Fill an empty store; `progress` gets (messages so far, messages)."""
    chance = np.random.default_rng(seed)
    texts = Texts(chance)
    deployments = {name: _make_assistant(store, name) for name in ASSISTANTS}
    _make_runs(store)
    # About half of the messages are answers; each of those is rated with this probability, some of them again.
    share = 2 * ratings / messages / 1.12
    rows, made, rated = _Rows(), 0, 0
    for conversation in _conversations(chance, texts, deployments, messages, share):
        rows.conversations += conversation.conversations
        rows.messages += conversation.messages
        rows.ratings += conversation.ratings[: max(0, ratings - rated)]
        rated += len(conversation.ratings)
        rows.splits += conversation.splits
        if len(rows.messages) >= _BATCH:
            made += _insert(store, rows)
            rows = _Rows()
            progress(made, messages)
    _insert(store, rows)
    _freeze(store)


def _insert(store: Store, rows: _Rows) -> int:
    with store._file.writing() as transaction:
        transaction.execute("PRAGMA cache_size = -131072")
        transaction.insert_rows(_CONVERSATION, rows.conversations)
        transaction.insert_rows(_MESSAGE, rows.messages)
        transaction.insert_rows(_RATING, rows.ratings)
        transaction.insert_rows(_SPLIT, rows.splits)
    return len(rows.messages)


def _make_assistant(store: Store, name: str) -> list[Deployment]:
    """Its deployments in the order in which they served, each for as long as the others."""
    store.assistants.create(name, name.title(), "exact")
    run = store.runs.start(name, {"seed": 0}, "made up")
    store.runs.finish(run.id, RunStatus.PROMOTED, "made up", {})
    deployments = []
    for number in range(_DEPLOYMENTS):
        if number % 4 == 0:
            segments = [
                Segment(f"s{place}", SegmentKind.INSTRUCTION, text=f"Rule {place}, version {number}.")
                for place in range(20)
            ]
            prompt = store.prompts.add(name, segments)
        adapter = f"{name}-v{number:04d}" if number % 4 else None
        if adapter:
            store.adapters.add(adapter, name, run.id, f"adapters/{adapter}", "made up")
        segment_ids = [segment.id for segment in segments[: 20 - 4 * (number % 4)]]
        deployment = store.deployments.add(name, prompt.id, adapter, segment_ids, number % 4, 400)
        deployments.append(store.deployments.activate(deployment.id))
    return deployments


def _make_runs(store: Store) -> None:
    report = {
        "gate": {"variants": [{"variant": variant, "mean": 0.8} for variant in range(4)], "examples": 200}
    }
    with store._file.writing() as transaction:
        for _ in range(_RUNS):
            run = store.runs.start(ASSISTANTS[0], {"seed": 0}, "made up")
            store.runs.add_event(run.id, "dataset", {"train": 5000, "dropped": {"rated down": 900}})
            steps = ({"step": step, "of": _EVENTS, "loss": 1.5, "dev": None} for step in range(_EVENTS))
            events = [(run.id, END, "train", json.dumps(step)) for step in steps]
            transaction.insert_rows("INSERT INTO run_events (run_id, at, phase, data)", events)
            store.runs.finish(run.id, RunStatus.REFUSED, "made up", report)


def _freeze(store: Store) -> None:
    """A dataset of the newest answers, which the last run trained on."""
    answers = store._file.connection().execute(
        "SELECT id, conversation_id, text FROM messages WHERE role = 'assistant' ORDER BY seq DESC LIMIT ?",
        [_FROZEN],
    )
    examples = [
        Example(
            row["id"], row["conversation_id"], ((Role.USER, "q"),), row["text"], False, Split.TRAIN, RATERS[0]
        )
        for row in answers.fetchall()
    ]
    dataset = store.datasets.add(
        ASSISTANTS[0], store.prompts.latest(ASSISTANTS[0]).id, "made up", examples, {}
    )
    store.runs.update(store.runs.all(ASSISTANTS[0], 1)[0].id, dataset_id=dataset.id)


def _conversations(
    chance: np.random.Generator,
    texts: Texts,
    deployments: dict[str, list[Deployment]],
    messages: int,
    share: float,
) -> Iterator[_Rows]:
    number, made = 0, 0
    while made < messages:
        at = END - YEAR_S * (1 - made / messages)
        name = ASSISTANTS[int(chance.random() < 0.1)]
        served = deployments[name][min(_DEPLOYMENTS - 1, int(_DEPLOYMENTS * made / messages))]
        rows = _conversation(chance, texts, f"{number:032x}", name, served, at, messages - made, share)
        made += len(rows.messages)
        number += 1
        yield rows


def _conversation(
    chance: np.random.Generator,
    texts: Texts,
    id: str,
    assistant: str,
    served: Deployment,
    at: float,
    most: int,
    share: float,
) -> _Rows:
    """Six in ten have one turn, one in 2,000 has 200; half of the owners' conversations belong to the first owner."""
    draw = chance.random(4)
    source = SOURCES[int(draw[0] > 0.7) + int(draw[0] > 0.95)]
    owner = OWNERS[0] if draw[1] < 0.5 else OWNERS[1 + int(draw[1] * 1000) % (len(OWNERS) - 1)]
    turns = 1 if draw[2] < 0.6 else 2 + int((draw[2] - 0.6) * 15) if draw[2] < 0.9995 else 200
    rows, parent, title = _Rows(), None, ""
    for turn in range(turns):
        text = texts.of(4, 20)
        title = title or text[:60]
        question = f"{id}q{turn}"
        rows.messages.append((question, id, parent, "user", text, at, "complete", None, *(None,) * 6))
        for again in range(1 + int(chance.random() < 0.05)):
            answer = f"{id}a{turn}.{again}"
            cost = (420, 400, 384, 30, 0.2, 1.5) if source == "chat" else (None,) * 6
            by = served.id if source == "chat" else None
            at += 5.0
            rows.messages.append(
                (answer, id, question, "assistant", texts.of(5, 40), at, "complete", by, *cost)
            )
            if chance.random() < share:
                rows.ratings += _ratings(chance, texts, answer, at)
            parent = answer
        at += 30.0
        if len(rows.messages) >= most:
            break
    rows.conversations.append((id, assistant, title, owner, source, at, at, parent))
    if rows.ratings and draw[3] < 0.8:
        rows.splits.append((id, ("gate", "dev", "train")[int(draw[3] > 0.3) + int(draw[3] > 0.4)], at))
    return rows


def _ratings(chance: np.random.Generator, texts: Texts, answer: str, at: float) -> list[tuple[Any, ...]]:
    """Mostly one; of one rater again, or of a second rater, in 12 of 100."""
    first = int(chance.random() ** 2 * len(RATERS))  # some rate much more than others
    again = chance.random()
    raters = [first] + ([first] if again < 0.04 else [(first + 1) % len(RATERS)] if again < 0.12 else [])
    found = []
    for number, rater in enumerate(raters):
        kind = chance.random()
        verdict = "up" if kind < 0.55 else "down"
        reason = REASONS[int(kind * 1000) % len(REASONS)] if verdict == "down" else ""
        comment = texts.of(3, 12) if kind > 0.92 else ""
        correction = texts.of(5, 40) if kind > 0.75 else None
        found.append(
            (f"{answer}r{number}", answer, RATERS[rater], verdict, reason, comment, correction, at + 60)
        )
    return found
