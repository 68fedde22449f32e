"""Keeps training runs: requested, started, how far they got, and what each system answered at the gate."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from store.assistants import Assistants
from store.audit import AuditAction, Audits
from store.connection import Repository
from store.errors import Conflict
from store.records import RunEvent, RunStatus, TrainingRun


@dataclass(frozen=True)
class AutomaticRetrains:
    """Whether an assistant is retrained without being asked, and when the next such run starts and why, if one does."""

    allowed: bool = True
    starts_at: float | None = None
    reason: str = ""


class Runs(Repository):
    def start(self, assistant_id: str, settings: Mapping[str, Any], trigger: str) -> TrainingRun:
        """Record that a run started and why (`trigger`); it was the next one. Raises NotFound."""
        with self._file.writing() as transaction:
            self._other(Assistants).get(assistant_id)
            self.announce(assistant_id, None)
            run = TrainingRun(0, assistant_id, RunStatus.RUNNING, self._clock(), dict(settings), trigger)
            return self.get(transaction.insert("runs", **vars(run) | {"id": None}))

    def update(self, id: int, dataset_id: int | None = None, adapter: str | None = None) -> TrainingRun:
        """Record the run's dataset or adapter; what is None stays. Raises NotFound."""
        change = "UPDATE runs SET dataset_id = coalesce(?, dataset_id), adapter = coalesce(?, adapter) WHERE id = ?"
        self._execute(change, [dataset_id, adapter, id])
        return self.get(id)

    def finish(self, id: int, status: RunStatus, message: str, report: Mapping[str, Any]) -> TrainingRun:
        """Record how the run ended. Raises NotFound, Conflict when it is not running or `status` is RUNNING."""
        change = "UPDATE runs SET status = ?, finished_at = ?, message = ?, report = ? WHERE id = ?"
        with self._file.writing() as transaction:
            before = self.get(id).status
            if before is not RunStatus.RUNNING or status == RunStatus.RUNNING:
                raise Conflict(f"Run {id} is {before} and cannot become {status}: a run ends once.")
            transaction.execute(change, [status, self._clock(), message, dict(report), id])
            return self.get(id)

    def resume(self, id: int) -> TrainingRun:
        """Record that an interrupted run goes on. Raises NotFound, Conflict when it ended in another way."""
        change = "UPDATE runs SET status = 'running', finished_at = NULL, message = '' WHERE id = ?"
        with self._file.writing() as transaction:
            before = self.get(id).status
            if before is not RunStatus.INTERRUPTED:
                raise Conflict(f"Run {id} is {before} and cannot go on: only an interrupted run can.")
            transaction.execute(change, [id])
            return self.get(id)

    def get(self, id: int) -> TrainingRun:
        """Raises NotFound."""
        return self._one(TrainingRun, "SELECT * FROM runs WHERE id = ?", [id], f"run {id}")

    def all(self, assistant_id: str, limit: int = 50) -> list[TrainingRun]:
        """Return the last `limit` runs, newest first."""
        query = "SELECT * FROM runs WHERE assistant_id = ? ORDER BY id DESC LIMIT ?"
        return self._all(TrainingRun, query, [assistant_id, limit])

    def of_trigger(self, assistant_id: str, reason: str) -> TrainingRun | None:
        """Return the newest run with this reason among those that its trigger names."""
        query = """SELECT * FROM runs WHERE assistant_id = ? AND instr(', ' || trigger || ', ', ', ' || ? || ', ')
                   ORDER BY id DESC LIMIT 1"""
        return self._first(TrainingRun, query, [assistant_id, reason])

    def counts(self, assistant_id: str) -> dict[str, int]:
        """Return how many runs ended, or go on, with each status."""
        query = "SELECT status, count(*) AS n FROM runs WHERE assistant_id = ? GROUP BY status"
        return {row["status"]: row["n"] for row in self._rows(query, [assistant_id])}

    def interrupt_running(self, reason: str) -> int:
        """Mark runs that a crash left running as interrupted; returns how many. Hold the lock first."""
        change = "UPDATE runs SET status = ?, finished_at = ?, message = ? WHERE status = 'running'"
        return self._execute(change, [RunStatus.INTERRUPTED, self._clock(), reason])

    def add_event(self, run_id: int, phase: str, data: Mapping[str, Any]) -> RunEvent:
        """Record progress."""
        event = RunEvent(run_id, self._clock(), phase, dict(data))
        with self._file.writing() as transaction:
            transaction.insert("run_events", **vars(event))
        return event

    def events(self, run_id: int, phase: str | None = None) -> list[RunEvent]:
        """Return the run's events in the order of writing."""
        query = "SELECT * FROM run_events WHERE run_id = ? AND phase = coalesce(?, phase) ORDER BY seq"
        return self._all(RunEvent, query, [run_id, phase])

    def request(self, assistant_id: str, trigger: str) -> None:
        """Ask the trainer, which may be another process, for a run. Raises NotFound."""
        with self._file.writing() as transaction:
            self._other(Assistants).get(assistant_id)
            columns = {"assistant_id": assistant_id, "trigger": trigger, "at": self._clock()}
            transaction.insert("training_requests", **columns)
            self._other(Audits).record(AuditAction.TRAINING_ASKED, assistant_id)

    def is_requested(self, assistant_id: str) -> bool:
        """Whether a request waits for the trainer."""
        query = "SELECT 1 FROM training_requests WHERE assistant_id = ? LIMIT 1"
        return bool(self._rows(query, [assistant_id]))

    def running(self) -> TrainingRun | None:
        """Return the run that is under way, of whichever assistant."""
        return self._first(TrainingRun, "SELECT * FROM runs WHERE status = 'running' ORDER BY id DESC", [])

    def take_request(self) -> tuple[str, str] | None:
        """Take the requests of the assistant that waited longest, which one run answers: its id and their reasons."""
        if not self._rows("SELECT 1 FROM training_requests LIMIT 1"):  # mostly: without the write lock
            return None
        take = """DELETE FROM training_requests WHERE assistant_id = (
            SELECT assistant_id FROM training_requests ORDER BY seq LIMIT 1) RETURNING *"""
        with self._file.writing() as transaction:
            asked = sorted(transaction.rows(take), key=lambda row: int(row["seq"]))
        reasons = ", ".join(dict.fromkeys(row["trigger"] for row in asked))
        return (asked[0]["assistant_id"], reasons) if asked else None

    def announce(self, assistant_id: str, starts_at: float | None, reason: str = "") -> None:
        """Say when the next run starts by itself, and why; None takes it back. Raises Conflict for no assistant."""
        change = """INSERT INTO automatic_retrains (assistant_id, starts_at, reason) VALUES (?, ?, ?)
            ON CONFLICT DO UPDATE SET starts_at = excluded.starts_at, reason = excluded.reason"""
        self._execute(change, [assistant_id, starts_at, reason])

    def allow_automatic(self, assistant_id: str, allowed: bool) -> None:
        """Whether runs may start without being asked for; what was announced is taken back where they may not."""
        change = """INSERT INTO automatic_retrains (assistant_id, allowed) VALUES (?, ?) ON CONFLICT DO UPDATE
            SET allowed = excluded.allowed, starts_at = iif(excluded.allowed, starts_at, NULL)"""
        with self._file.writing() as transaction:
            transaction.execute(change, [assistant_id, allowed])
            detail = {"allowed": allowed}
            self._other(Audits).record(AuditAction.AUTOMATIC_RETRAINS, assistant_id, detail)

    def automatic(self, assistant_id: str) -> AutomaticRetrains:
        query = "SELECT allowed, starts_at, reason FROM automatic_retrains WHERE assistant_id = ?"
        return self._first(AutomaticRetrains, query, [assistant_id]) or AutomaticRetrains()


# An example that was erased from the dataset is shown no more; an answer goes with the message that it was asked by.
PAIRS = """
    FROM runs JOIN gate_answers c ON c.run_id = runs.id AND c.system = ?
    JOIN gate_answers r ON r.run_id = c.run_id AND r.system = ? AND r.position = c.position
    JOIN dataset_examples e ON e.dataset_id = runs.dataset_id AND e.position = c.position
    WHERE runs.id = ?"""
_SHOWN = """
    SELECT json_extract(e.context, '$[#-1][1]') AS question, e.completion AS approved, c.text, c.score,
        r.text AS other_text, r.score AS other_score"""
# Differences of less than a tenth of a point are how a score is rounded.
_TALLY = """
    SELECT count(*) FILTER (WHERE c.score > r.score + 0.001) AS better,
        count(*) FILTER (WHERE c.score < r.score - 0.001) AS worse, count(*) AS asked"""


@dataclass(frozen=True)
class GateAnswer:
    """The answer of `system` to the example at `position` of the dataset; `score` is 0 to 1."""

    position: int
    message_id: str
    system: str
    text: str
    score: float


@dataclass(frozen=True)
class SideBySide:
    """One question of the gate, the approved answer, and the answers of two systems."""

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
        """Save all answers or none; an answer whose message was deleted meanwhile is left out."""
        insert = "INSERT INTO gate_answers SELECT ?, ?, ?, id, ?, ? FROM messages WHERE id = ?"
        rows = [(run_id, a.system, a.position, a.text, a.score, a.message_id) for a in answers]
        with self._file.writing() as transaction:
            transaction.executemany(insert, rows)

    def texts(self, run_id: int) -> dict[str, dict[int, str]]:
        """Return for each system its answer to the example at a position of the run's dataset."""
        query = "SELECT system, position, text FROM gate_answers WHERE run_id = ?"
        found: dict[str, dict[int, str]] = {}
        for row in self._rows(query, [run_id]):
            found.setdefault(row["system"], {})[row["position"]] = row["text"]
        return found

    def tally(self, run_id: int, system: str, other: str) -> Tally:
        """Return how often `system` did better than `other`; 0 asked of a system that the gate did not try."""
        return self._all(Tally, _TALLY + PAIRS, [system, other, run_id])[0]

    def side_by_side(
        self, run_id: int, system: str, other: str, limit: int, best_first: bool = False
    ) -> list[SideBySide]:
        """Return the questions on which `system` lost most against `other`, or won most (`best_first`)."""
        direction = "DESC" if best_first else "ASC"
        query = f"{_SHOWN}{PAIRS} ORDER BY c.score - r.score {direction}, c.position LIMIT ?"
        return self._all(SideBySide, query, [system, other, run_id, limit])
