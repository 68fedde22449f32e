"""Finds the approved answers that are sent along with a question: those to the most similar questions.

Chat and gate retrieve here, so that what is proven is what is served. A gate or dev question never finds its own answer
or that of another one of them: evaluation leaves those out.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from typing import Protocol

import numpy as np

from assistant.approved import Allowed, ApprovedAnswers
from assistant.listed import allowed_with_listed, with_listed
from assistant.rendering import Context
from store import Store
from store.demonstrations import Demonstration
from store.records import Deployment, Prompt

DEMONSTRATIONS = 5  # of a request that sends any: what was measured best on three tasks
# An approved answer that the adapter has not learned yet is sent only with what asks nearly the same: cosine of the
# questions' vectors.
NEARLY_THE_SAME = 0.6
_MOST_NEW = 2
_AT_ONCE = 32  # new vectors that a question waits for, some 0.2 s; what more there are is made by `prepare`
_BATCH = 256


class Embeds(Protocol):
    """Makes unit vectors of texts; `name` differs for models that make others."""

    name: str

    def embed(self, texts: Sequence[str]) -> np.ndarray: ...


class Copies(Protocol):
    """What may give an approved answer, or one that its prompt lists, as it is: from the likeness `copy_at` on, None
    for never. The run says which unrated questions help to find it.
    """

    @property
    def prompt_id(self) -> int: ...
    @property
    def copy_at(self) -> float | None: ...
    @property
    def run_id(self) -> int | None: ...


class Retriever:
    """Finds demonstrations; any number of threads may ask."""

    def __init__(self, store: Store, embedder: Embeds):
        self._store, self.embedder = store, embedder
        self._indexes: dict[str, tuple[tuple[int, int, int], ApprovedAnswers]] = {}
        self._prompt = lru_cache(maxsize=64)(store.prompts.get)  # a version never changes
        self._learned = lru_cache(maxsize=8)(store.datasets.learned_by)  # a dataset never changes
        # Approved answers and a version of the prompt, with what it lists, and with what each run found beside.
        self._listed: dict[str, tuple[ApprovedAnswers, Prompt, dict[int | None, ApprovedAnswers]]] = {}
        # The gate asks the same questions for every variant.
        self._vector = lru_cache(maxsize=1024)(lambda question: embedder.embed([question])[0])

    def for_deployment(
        self, deployment: Deployment, question: str, allowed: Allowed = lambda one: True
    ) -> list[Demonstration]:
        """What a request of this deployment sends along, the most similar one last.

        A deployment that sends none still sends what was approved under its prompt, was not there when its adapter was
        trained, and answers nearly the same question: a correction counts from the next question on, and an older one
        undoes no edit. What its adapter was only tested on is not sent: where all questions are much alike, that would
        be two answers with each of them.
        """
        assistant_id = deployment.assistant_id
        if deployment.demonstrations:
            return self.nearest(assistant_id, question, deployment.demonstrations, allowed)
        known = self._learned(deployment.adapter) if deployment.adapter else frozenset()
        since = self._prompt(deployment.prompt_id).created_at

        def is_new(one: Demonstration) -> bool:
            return one.added_at >= since and one.message_id not in known and allowed(one)

        return self.nearest(assistant_id, question, _MOST_NEW, is_new, NEARLY_THE_SAME)

    def copied(self, by: Copies, context: Context, allowed: Allowed | None = None) -> Demonstration | None:
        """The approved or listed answer that suits most, where it suits enough to be given as it is. None in a
        conversation that has begun, and none with a placeholder.
        """
        if by.copy_at is None or len(context) > 1:
            return None
        prompt = self._prompt(by.prompt_id)
        approved = self._index(prompt.assistant_id)
        if not approved.items:
            return None
        index = self._with_listed(approved, prompt, by.run_id)
        may_be = allowed_with_listed(index, prompt.segments, allowed) if allowed else lambda one: True
        found = index.most_suitable(self._vector(context[0][1]), may_be)
        if found is None or found.value < by.copy_at or found.demonstration.has_placeholder:
            return None
        return found.demonstration

    def nearest(
        self,
        assistant_id: str,
        question: str,
        most: int,
        allowed: Allowed = lambda one: True,
        at_least: float = -1.0,
    ) -> list[Demonstration]:
        """At most `most` of the allowed demonstrations, whose cosine with the question is `at_least` that, the most
        similar one last.
        """
        index = self._index(assistant_id) if most else None
        if index is None or not index.items:
            return []
        return [*islice(index.nearest(self._vector(question), allowed, at_least), most)][::-1]

    def prepare(self) -> None:
        """Make every vector that is missing, the newest first. The model is loaded once there is anything to find."""
        for assistant in self._store.assistants.all():
            while missing := self._store.demonstrations.without_vector(
                assistant.id, self.embedder.name, _BATCH
            ):
                self._make_vectors(missing)
            if self._index(assistant.id).items:
                self._vector("so that the first question need not wait for the model")

    def _index(self, assistant_id: str) -> ApprovedAnswers:
        state = self._store.demonstrations.state(assistant_id, self.embedder.name)
        known = self._indexes.get(assistant_id)
        if known and known[0] == state:
            return known[1]
        if missing := self._store.demonstrations.without_vector(assistant_id, self.embedder.name, _AT_ONCE):
            self._make_vectors(missing)
            state = self._store.demonstrations.state(assistant_id, self.embedder.name)
        found = self._store.demonstrations.with_vectors(assistant_id, self.embedder.name)
        vectors = [np.frombuffer(vector, np.float32) for _, vector in found]
        index = ApprovedAnswers.of([one for one, _ in found], np.array(vectors))
        self._indexes[assistant_id] = state, index
        return index

    def _with_listed(self, approved: ApprovedAnswers, prompt: Prompt, run_id: int | None) -> ApprovedAnswers:
        known = self._listed.get(prompt.assistant_id)
        if known is None or known[:2] != (approved, prompt):
            known = approved, prompt, {None: with_listed(approved, prompt.segments, self.embedder.embed)}
            self._listed[prompt.assistant_id] = known
        by_run = known[2]
        if run_id not in by_run:
            found = self._store.datasets.unrated_sums(run_id, self.embedder.name)
            sums = {answer: np.frombuffer(vector, np.float32) for answer, vector in found.items()}
            by_run[run_id] = by_run[None].with_unrated(sums)
        return by_run[run_id]

    def _make_vectors(self, some: Sequence[Demonstration]) -> None:
        vectors = self.embedder.embed([one.question for one in some])
        made = {one.message_id: vector.tobytes() for one, vector in zip(some, vectors, strict=True)}
        self._store.demonstrations.set_vectors(self.embedder.name, made)
