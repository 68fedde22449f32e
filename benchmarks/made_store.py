"""A store of any size, made up from a seed in a minute: what a team leaves behind in a year.

It has two assistants (nine in ten conversations are the first one's), prompt versions, deployments that followed each
other, runs with events, a frozen dataset, conversations of one to 200 turns, answers generated again, and ratings of a
dozen raters with reasons, comments and corrections. Words are as frequent as in a language (Zipf).
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from store import Store
from store.records import Deployment, Example, Role, RunStatus, Segment, SegmentKind, Split

ASSISTANTS = ("bank", "shop")
YEAR_S = 365 * 86400.0
END = 1_790_000_000.0  # UTC seconds; the last message is from then
RATERS = tuple(f"rater{number}" for number in range(12))
OWNERS = ("local", *(f"person{number}" for number in range(20)))
SOURCES = ("chat", "import")
REASONS = ("wrong", "too long", "too short", "rude", "off topic")
_BATCH = 20_000  # messages in one transaction
_VOCABULARY = 30_000
_DEPLOYMENTS, _RUNS, _EVENTS = 12, 40, 1_000
_FROZEN = 10_000  # examples of the dataset

_MESSAGE = """
    INSERT INTO messages (id, conversation_id, parent_id, role, text, created_at, status, deployment_id, prompt_tokens,
        prompt_part_tokens, cached_tokens, completion_tokens, first_token_s, total_s)"""
_RATING = "INSERT INTO ratings (id, message_id, rater, verdict, reason, comment, correction, created_at)"


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
    # About half of the messages are answers; each of those is rated with this probability, some of them again.
    rows = _Rows(np.random.default_rng(seed), ratings, 2 * ratings / messages / 1.12)
    deployments = {name: _make_assistant(store, name) for name in ASSISTANTS}
    _make_runs(store)
    number, made = 0, 0
    while made < messages:
        at = END - YEAR_S * (1 - made / messages)
        name = ASSISTANTS[int(rows.chance.random() < 0.1)]
        served = deployments[name][min(_DEPLOYMENTS - 1, int(_DEPLOYMENTS * made / messages))]
        made += rows.add_conversation(f"{number:032x}", name, served, at, messages - made)
        number += 1
        if len(rows.messages) >= _BATCH or made >= messages:
            rows.insert(store)
            progress(made, messages)
    _freeze(store)


class _Rows:
    """What the next transaction inserts; at most `ratings` ratings in all, one of an answer with this probability."""

    def __init__(self, chance: np.random.Generator, ratings: int, share: float):
        self.chance, self._texts = chance, Texts(chance)
        self._ratings_left, self._share = ratings, share
        self._clear()

    def _clear(self) -> None:
        self.messages: list[tuple[Any, ...]] = []
        self._conversations: list[tuple[Any, ...]] = []
        self._ratings: list[tuple[Any, ...]] = []
        self._splits: list[tuple[Any, ...]] = []

    def insert(self, store: Store) -> None:
        with store._file.writing() as transaction:
            transaction.execute("PRAGMA cache_size = -131072")
            transaction.insert_rows("INSERT INTO conversations", self._conversations)
            transaction.insert_rows(_MESSAGE, self.messages)
            transaction.insert_rows(_RATING, self._ratings)
            transaction.insert_rows("INSERT INTO splits", self._splits)
        self._clear()

    def add_conversation(self, id: str, assistant: str, served: Deployment, at: float, most: int) -> int:
        """Returns how many messages it has: six in ten have one turn, one in 2,000 has 200.

        Half of the owners' conversations belong to the first owner.
        """
        draw = self.chance.random(4)
        source = SOURCES[int(draw[0] > 0.7)]
        owner = OWNERS[0] if draw[1] < 0.5 else OWNERS[1 + int(draw[1] * 1000) % (len(OWNERS) - 1)]
        turns = 1 if draw[2] < 0.6 else 2 + int((draw[2] - 0.6) * 15) if draw[2] < 0.9995 else 200
        cost, by = ((420, 400, 384, 30, 0.2, 1.5), served.id) if source == "chat" else ((None,) * 6, None)
        before, parent, title, ratings = len(self.messages), None, "", list[tuple[Any, ...]]()
        for turn in range(turns):
            text = self._texts.of(4, 20)
            title = title or text[:60]
            question = f"{id}q{turn}"
            self.messages.append((question, id, parent, "user", text, at, "complete", None, *(None,) * 6))
            for again in range(1 + int(self.chance.random() < 0.05)):
                parent = f"{id}a{turn}.{again}"
                at += 5.0
                text = self._texts.of(5, 40)
                self.messages.append((parent, id, question, "assistant", text, at, "complete", by, *cost))
                if self.chance.random() < self._share:
                    ratings += self._rate(parent, at)
            at += 30.0
            if len(self.messages) - before >= most:
                break
        self._conversations.append((id, assistant, title, owner, source, at, at, parent))
        if ratings and draw[3] < 0.8:
            split = ("gate", "dev", "train")[int(draw[3] > 0.3) + int(draw[3] > 0.4)]
            self._splits.append((id, split, at))
        self._ratings += ratings[: max(0, self._ratings_left)]
        self._ratings_left -= len(ratings)
        return len(self.messages) - before

    def _rate(self, answer: str, at: float) -> list[tuple[Any, ...]]:
        """Mostly one rating; of one rater again, or of a second rater, in 12 of 100."""
        first = int(self.chance.random() ** 2 * len(RATERS))  # some rate much more than others
        again = self.chance.random()
        raters = [first] + ([first] if again < 0.04 else [(first + 1) % len(RATERS)] if again < 0.12 else [])
        found = []
        for number, rater in enumerate(raters):
            kind = self.chance.random()
            verdict = "up" if kind < 0.55 else "down"
            reason = REASONS[int(kind * 1000) % len(REASONS)] if verdict == "down" else ""
            comment = self._texts.of(3, 12) if kind > 0.92 else ""
            correction = self._texts.of(5, 40) if kind > 0.75 else None
            row = (f"{answer}r{number}", answer, RATERS[rater], verdict, reason, comment, correction, at + 60)
            found.append(row)
        return found


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
