"""Keeps the demonstrations of every assistant up to date: the approved answers, redacted."""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from assistant.retrieval import Embeds
from store import Store, StoreError
from store.demonstrations import Demonstration
from store.errors import NotFound
from store.records import Example, Split
from trainer.examples.dataset import draft
from trainer.examples.similar import is_understood_alone, question_of
from trainer.examples.wording import near, wording
from trainer.redaction.entities import RedactionError
from trainer.settings import TrainerSettings

# Share of the time at most: of 10,000 answers the selection takes some 2 s.
_BUSY = 0.2
_EVERY_S = 1.0

logger = logging.getLogger(__name__)


class DemonstrationUpdater:
    """Looks whether anything was judged, and brings the demonstrations up to date where it was."""

    def __init__(self, store: Store, settings: TrainerSettings):
        self._store, self._settings = store, settings
        self._seen: tuple[int, ...] = ()
        self._rest_until = 0.0

    def run(self, stopped: threading.Event) -> None:
        """Every second, until it is stopped. Any number may run beside each other: they write the same."""
        while not stopped.wait(_EVERY_S):
            try:
                self.tick()
            except StoreError:  # locked for long, or a full disk: the next tick tries again
                logger.exception("The demonstrations could not be brought up to date.")

    def tick(self) -> None:
        """Cheap where nothing has changed. Raises StoreError, and tries again at the next tick."""
        if time.monotonic() < self._rest_until:
            return
        judged = self._store.answers.judged()
        if judged == self._seen:
            return
        started = time.monotonic()
        for assistant in self._store.assistants.all():
            try:
                refresh(self._store, assistant.id, self._settings)
            except (RedactionError, NotFound) as error:  # a rule that takes too long, or no prompt yet
                logger.info("The demonstrations of %s stay as they are: %s", assistant.id, error)
        self._seen = judged
        self._rest_until = time.monotonic() + (time.monotonic() - started) * (1 / _BUSY - 1)


def refresh(store: Store, assistant_id: str, settings: TrainerSettings) -> None:
    """Settle the splits of what is approved now, and keep it as demonstrations. Raises as `draft`."""
    found = draft(store, assistant_id, replace(settings, unrated_answers=0))
    store.splits.record(found.deduplicated.splits)
    store.demonstrations.replace(assistant_id, demonstrations_of(found.examples))


def demonstrations_of(examples: Sequence[Example]) -> list[Demonstration]:
    """Approved examples whose question can be understood by itself.

    Those of the gate and of dev are for people's questions alone: evaluation leaves them out, and so does training.
    """
    return [
        Demonstration(e.message_id, _question(e), e.completion)
        for e in examples
        if e.approved and is_understood_alone(e.context)
    ]


def nearest_train_examples(
    embedder: Embeds, examples: Sequence[Example], count: int
) -> dict[str, Sequence[Demonstration]]:
    """For each train and dev example the `count` train examples with the most similar questions, the most similar last.

    They are found in the frozen dataset alone, so that a rerun renders the same. What asks the same as the example, the
    example itself first of all, is never among them.
    """
    asking = [e for e in examples if e.split is not Split.GATE]
    known = demonstrations_of([e for e in examples if e.split is Split.TRAIN])
    if not known or not count:
        return {}
    vectors = embedder.embed([_question(e) for e in asking])
    rows = {e.message_id: row for row, e in enumerate(asking)}
    likeness = vectors @ vectors[[rows[one.message_id] for one in known]].T
    found: dict[str, Sequence[Demonstration]] = {}
    for example, likely in zip(asking, likeness, strict=True):
        asked = question_of(example.context)
        order = (known[at] for at in np.argsort(-likely, kind="stable"))
        others = (
            one
            for one in order
            if one.message_id != example.message_id and not near(wording(one.question), asked)
        )
        found[example.message_id] = [*islice(others, count)][::-1]
    return found


def _question(example: Example) -> str:
    return example.context[-1][1]
