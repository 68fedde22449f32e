"""What each system answered at a gate and how it scored, so that people can see what a verdict was about."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from store.columns import from_json
from store.repository import Repository

# An example that was erased from the dataset is shown no more; an answer goes with the message that it was asked by.
PAIRS = """
    FROM runs JOIN gate_answers c ON c.run_id = runs.id AND c.system = ?
    JOIN gate_answers r ON r.run_id = c.run_id AND r.system = ? AND r.position = c.position
    JOIN dataset_examples e ON e.dataset_id = runs.dataset_id AND e.position = c.position
    WHERE runs.id = ?"""
_SHOWN = "SELECT e.context, e.completion, c.text, c.score, r.text AS other_text, r.score AS other_score"
# Differences of less than a tenth of a point are how a score is rounded.
_TALLY = """
    SELECT count(*) FILTER (WHERE c.score > r.score + 0.001) AS better,
        count(*) FILTER (WHERE c.score < r.score - 0.001) AS worse, count(*) AS asked"""


@dataclass(frozen=True)
class GateAnswer:
    """What `system` answered to the example at `position` of the dataset; `score` is 0 to 1."""

    position: int
    message_id: str
    system: str
    text: str
    score: float


@dataclass(frozen=True)
class SideBySide:
    """One question of the gate, the approved answer, and what two systems answered."""

    question: str
    approved: str
    text: str
    score: float
    other_text: str
    other_score: float


@dataclass(frozen=True)
class Tally:
    """Of `asked` questions one system scored better than the other, or worse; the rest are alike."""

    better: int
    worse: int
    asked: int


class GateAnswers(Repository):
    def add(self, run_id: int, answers: Iterable[GateAnswer]) -> None:
        """All of them or none; an answer whose message was deleted meanwhile is left out. Raises NotFound."""
        with self._file.writing() as transaction:
            transaction.one("SELECT 1 FROM runs WHERE id = ?", [run_id], f"run {run_id}")
            transaction.executemany(
                "INSERT INTO gate_answers (run_id, system, position, message_id, text, score) "
                "SELECT ?, ?, ?, id, ?, ? FROM messages WHERE id = ?",
                ((run_id, a.system, a.position, a.text, a.score, a.message_id) for a in answers),
            )

    def texts(self, run_id: int) -> dict[str, dict[int, str]]:
        """Of each system, its answer to the example at a position of the run's dataset."""
        query = "SELECT system, position, text FROM gate_answers WHERE run_id = ?"
        found: dict[str, dict[int, str]] = {}
        with self._file.reading() as transaction:
            for row in transaction.rows(query, [run_id]):
                found.setdefault(row["system"], {})[row["position"]] = row["text"]
        return found

    def tally(self, run_id: int, system: str, other: str) -> Tally:
        """How often `system` did better than `other`; nothing was asked of a system that the gate did not try."""
        with self._file.reading() as transaction:
            row = transaction.rows(_TALLY + PAIRS, [system, other, run_id])[0]
        return Tally(row["better"], row["worse"], row["asked"])

    def side_by_side(
        self, run_id: int, system: str, other: str, limit: int, best_first: bool = False
    ) -> list[SideBySide]:
        """The questions on which `system` lost most against `other`; with `best_first` those on which it won most."""
        direction = "DESC" if best_first else "ASC"
        query = f"{_SHOWN}{PAIRS} ORDER BY c.score - r.score {direction}, c.position LIMIT ?"
        return self._all(_pair, query, [system, other, run_id, limit])


def _pair(row: sqlite3.Row) -> SideBySide:
    _, question = from_json(row["context"])[-1]
    return SideBySide(
        question, row["completion"], row["text"], row["score"], row["other_text"], row["other_score"]
    )
