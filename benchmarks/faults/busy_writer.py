"""A process that saves one thing after the other, and says of each that it is saved: to be killed.

In: a store's path, a seed, a pipe. Out: a `Saved` down the pipe after each call has returned, until it is killed. Place
in the flow: the victim of `store_kills`. Does not know when that will be.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from store import Store
from store.records import Deployment, MessageStatus, Role, Ruling, Usage, Verdict

ASSISTANT = "bank"
_USAGE = Usage(50, 40, 32, 9, 0.25, 1.0)


@dataclass(frozen=True)
class Saved:
    """What a person was told is saved: the kind, its id, and the digest of a text that has to be there with it."""

    kind: str
    id: str
    digest: str = ""


def digest(text: str) -> str:
    """Short, so that a pipe never keeps the writer waiting."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def set_up(path: Path) -> None:
    """A store with an assistant that has three deployments, the first of them active."""
    with Store(path) as store:
        store.create_assistant(ASSISTANT, "Bank", "exact")
        prompt = store.add_prompt(ASSISTANT, [])
        for number in range(3):
            store.add_deployment(ASSISTANT, prompt.id, None, (), number, 0)
        store.activate(store.deployments(ASSISTANT)[0].id)


def write_all_the_time(path: Path, seed: int, told: Connection) -> None:
    """Chats, ratings, corrections, decisions and swaps, in a random order."""
    chance = random.Random(seed)
    with Store(path) as store:
        deployments = store.deployments(ASSISTANT)
        rated: list[str] = []
        number = 0
        while True:
            number += 1
            text = f"{seed}.{number} " + "words " * chance.choice((1, 20, 2000))
            what = chance.choice(("talk", "talk", "rate", "rate", "decide", "swap"))
            if what == "talk" or not rated:
                rated += _talk(store, text, chance.choice(deployments), told)
            elif what == "rate":
                correction = text if chance.random() < 0.5 else None
                rating = store.rate(
                    chance.choice(rated), "ann", Verdict.DOWN, comment=text, correction=correction
                )
                told.send(Saved("rating", rating.id, digest(text)))
            elif what == "decide":
                decision = store.decide(chance.choice(rated), "bo", Ruling.CORRECT, text)
                told.send(Saved("decision", decision.id, digest(text)))
            else:
                active = store.activate(chance.choice(deployments).id)
                told.send(Saved("swap", str(active.id)))


def _talk(store: Store, text: str, served: Deployment, told: Connection) -> list[str]:
    talk = store.create_conversation(ASSISTANT)
    asked = store.add_message(talk.id, None, Role.USER, text)
    told.send(Saved("message", asked.id, digest(text)))
    answer = store.add_message(
        talk.id, asked.id, Role.ASSISTANT, "", MessageStatus.STREAMING, served.id, usage=None
    )
    store.finish_message(answer.id, text, MessageStatus.COMPLETE, _USAGE)
    told.send(Saved("message", answer.id, digest(text)))
    return [answer.id]
