"""Finds approved answers by their questions' vectors: the nearest questions, and the answer that suits most."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile

import numpy as np

from store.demonstrations import Demonstration

Allowed = Callable[[Demonstration], bool]

_THE_SAME = 0.9  # a cosine from which on the nearest question decides alone: a correction counts at once
# What the nearest question says, beside the centroid. With as much as the centroid 0 to 5 of 100 fewer were right.
_NEAREST = 0.3
# How surely an unrated question asks for one answer rather than another, by how much it suits; 0.03 does as well.
_TEMPERATURE, _ROUNDS = 0.05, 5
_FOLDS = 10  # of cross-validation
NO_VECTORS = np.zeros((0, 1), np.float32)
_ANSWERS_OF = 20  # nearest questions: among their answers is the one that suits most


@dataclass(frozen=True)
class Likeness:
    """How much a question is like those that have one approved answer, at most 1, and the most similar of them."""

    value: float
    demonstration: Demonstration


@dataclass(frozen=True, eq=False)
class ApprovedAnswers:
    """`vectors` of their questions have length 1 and the shape (answers, dimensions). Answers that the prompt lists may
    be among them, without a message: an item of the list is a question of its answer (`listed`).
    """

    items: Sequence[Demonstration]
    vectors: np.ndarray
    by_answer: Mapping[str, Sequence[int]]
    # For each answer the sum of the vectors of unrated questions, as far as they ask for it.
    unrated: Mapping[str, np.ndarray] = field(default_factory=dict)
    # Of the sum of all questions of an answer.
    _lengths: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def of(items: Sequence[Demonstration], vectors: np.ndarray) -> "ApprovedAnswers":
        by_answer: dict[str, list[int]] = defaultdict(list)
        for at, one in enumerate(items):
            by_answer[one.answer].append(at)
        return ApprovedAnswers(items, vectors, by_answer)

    def nearest(
        self, vector: np.ndarray, allowed: Allowed, at_least: float = -1.0
    ) -> Iterator[Demonstration]:
        """Those whose questions have a cosine of `at_least` that with this one, the most similar first."""
        return (self.items[at] for at in self._order(self._likeness(vector), allowed, at_least))

    def most_suitable(self, vector: np.ndarray, allowed: Allowed = lambda one: True) -> Likeness | None:
        """The answer for which the mean of two cosines is largest: with the most similar of its questions, and, which
        weighs more, with the centroid of them all. For what asks the same as an approved question, its answer.

        Where answers repeat that is right more often than the answer to the most similar question (docs/training.md).
        It lies between the nearest neighbour and Rocchio's classifier.
        """
        likeness = self._likeness(vector)
        order = [*islice(self._order(likeness, allowed), _ANSWERS_OF)]
        if order and likeness[order[0]] >= _THE_SAME:
            return Likeness(float(likeness[order[0]]), self.items[order[0]])
        nearest: dict[str, int] = {}
        for at in order:
            nearest.setdefault(self.items[at].answer, at)
        found = [
            Likeness(
                _NEAREST * float(likeness[at])
                + (1 - _NEAREST) * self._centroid(answer, vector, likeness, allowed),
                self.items[at],
            )
            for answer, at in nearest.items()
        ]
        return max(found, key=lambda one: one.value, default=None)

    def agreement(self, unrated: np.ndarray = NO_VECTORS, most: int = 1000) -> list[tuple[float, bool]]:
        """For each question, or the newest `most`: its likeness to those that have the most suitable answer, and
        whether that is its own as well.

        A tenth of the questions at a time is left out, and so takes no part in sharing out the `unrated` ones either.
        """
        some, found = [at for at, one in enumerate(self.items) if one.message_id][-most:], []
        for fold in range(_FOLDS):
            left_out = some[fold::_FOLDS]
            rest = np.delete(np.arange(len(self.items)), left_out)
            others = ApprovedAnswers.of([self.items[at] for at in rest], self.vectors[rest])
            others = others.with_unrated(others.sums_of_unrated(unrated))
            for at in left_out:
                if suits := others.most_suitable(self.vectors[at]):
                    found.append((suits.value, suits.demonstration.answer == self.items[at].answer))
        return found

    def pseudo_labels(self, unrated: np.ndarray) -> list[Likeness | None]:
        """For each unrated question the answer that suits most, found with the help of the other ones: its own vector
        in the centroid would make it more like that answer than anything is that comes later.
        """
        found: list[Likeness | None] = [None] * len(unrated)
        for fold in range(_FOLDS):
            left_out = range(fold, len(unrated), _FOLDS)
            sums = self.sums_of_unrated(np.delete(unrated, left_out, axis=0))
            others = self.with_unrated(sums)
            for at in left_out:
                found[at] = others.most_suitable(unrated[at])
        return found

    def _likeness(self, vector: np.ndarray) -> np.ndarray:
        # Not by the matrix library: its threads and torch's would wait for each other (50 ms instead of 19).
        likeness: np.ndarray = np.einsum("nd,d->n", self.vectors, vector)
        return likeness

    def _order(self, likeness: np.ndarray, allowed: Allowed, at_least: float = -1.0) -> Iterator[int]:
        near = takewhile(lambda at: likeness[at] >= at_least, np.argsort(-likeness, kind="stable"))
        return (int(at) for at in near if allowed(self.items[at]))

    def _centroid(self, answer: str, vector: np.ndarray, likeness: np.ndarray, allowed: Allowed) -> float:
        """The cosine with the centroid of this answer's questions."""
        every, unrated = self.by_answer[answer], self.unrated.get(answer)
        same = [at for at in every if allowed(self.items[at])]
        length = self._lengths.get(answer) if len(same) == len(every) else None
        if length is None:
            total = self.vectors[same].sum(axis=0) + (0.0 if unrated is None else unrated)
            length = float(np.linalg.norm(total)) or 1.0
        if len(same) == len(every):
            self._lengths[answer] = length
        found = float(likeness[same].sum()) + (0.0 if unrated is None else float(unrated @ vector))
        return found / length

    def with_unrated(self, unrated: Mapping[str, np.ndarray]) -> "ApprovedAnswers":
        """The same, whose centroids have these sums in them (`sums_of_unrated`)."""
        return ApprovedAnswers(self.items, self.vectors, self.by_answer, unrated)

    def sums_of_unrated(self, vectors: np.ndarray) -> dict[str, np.ndarray]:
        """For each answer the sum of the vectors of unrated questions, each as far as it asks for that answer.

        Each is shared out among the answers by how much they suit it, then the centroids are made anew, and so on: what
        people ask says where the questions of an answer lie, and few approved ones say that badly. (Expectation
        maximisation with labelled and unlabelled examples, as in Nigam et al. 2000.)
        """
        if not len(vectors) or not self.items:
            return {}
        own = np.stack([self.vectors[places].sum(axis=0) for places in self.by_answer.values()])
        likeness = vectors @ self.vectors.T
        nearest = np.stack([likeness[:, places].max(axis=1) for places in self.by_answer.values()], axis=1)
        added = np.zeros_like(own)
        for _ in range(_ROUNDS):
            total = own + added
            centroids = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9)
            suits = (_NEAREST * nearest + (1 - _NEAREST) * vectors @ centroids.T) / _TEMPERATURE
            shares = np.exp(suits - suits.max(axis=1, keepdims=True))
            added = (shares / shares.sum(axis=1, keepdims=True)).T @ vectors
        return dict(zip(self.by_answer, added.astype(np.float32), strict=True))
