"""Starts retrains by itself: on request, when enough new approved examples have come in, and where a run was cut short.

It also re-evaluates refused candidates once people have judged their answers, and rolls back deployments that do worse
than the one before. Each run is a child process, one at a time, so that its memory goes back to the chat when it ends.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from assistant.adapter_files import BadAdapter
from assistant.serving import NoServer
from assistant.supervisor import BEHIND_THE_APP, lower_priority
from assistant.vllm_client import VllmError
from store import Store, StoreError
from store.audit import TRAINER, acting
from store.lock import TRAINING, WATCH, Lock, LockTaken, is_locked
from store.records import RunStatus, TrainingRun
from trainer.deployment.rollback_monitor import worse_than_before
from trainer.deployment.swap import roll_back
from trainer.evaluation.judgements import pending
from trainer.evaluation.scorers import right_or_wrong
from trainer.examples.dataset import draft, newest_record, shortage
from trainer.examples.demonstrations import DemonstrationUpdater
from trainer.prompt_edit import TRIGGERS as AFTER_EDIT
from trainer.prompt_edit import next_try
from trainer.redaction.entities import RedactionError
from trainer.settings import TrainerSettings
from trainer.training.checkpoints import RESUME, interrupted

_TICK_S = 1.0
_MOST_RESUMED = 3  # a run that dies again and again (out of memory, say) is left to people
_REST_S = 60.0  # before a re-evaluation that could not even begin is tried again: no server answers, say
_GRACE_S = 6.0  # less than the 10 s after which the app's supervisor kills whatever is left

# More than vLLM has: a quarter of a core beside a busy one, and all of an idle one. With twice as much, a tenth, a
# training on two cores came to a standstill while a single person chatted without a pause.
_NICE = 5

logger = logging.getLogger(__name__)


class Watch:
    """A loop that ticks every second; it looks for new examples and at answers every `every_s` seconds."""

    def __init__(
        self, store: Store, data_dir: Path, settings: TrainerSettings, options: Sequence[str], every_s: float
    ):
        self._store = store
        self._data_dir = data_dir
        self._settings = settings
        self._command = [sys.executable, "-m", "trainer"]
        self._options = options
        self._every_s = every_s
        self._next_due = time.monotonic() + every_s
        self._rest_until = 0.0
        self._stop = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._to_resume: list[tuple[str, str]] = []
        self._began: tuple[str, str, list[TrainingRun]] | None = None
        self._demonstrations = DemonstrationUpdater(store, settings)

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Until `stop`; raises LockTaken when another watch serves this data directory."""
        with Lock(self._data_dir, WATCH):
            self._interrupt_running("The trainer was stopped or crashed during this run.")
            self._to_resume = self.interrupted_runs()
            try:
                while not self._stop.wait(_TICK_S):
                    try:
                        self._tick()
                    except StoreError:  # locked for long, or a full disk: the next tick tries again
                        logger.exception("The trainer could not read or write the store.")
            finally:
                if self._child is not None:
                    _end(self._child)
                    self._finish_child(self._child)

    def _tick(self) -> None:
        if self._child is not None and self._child.poll() is not None:
            self._finish_child(self._child)
        self._demonstrations.tick()
        due = time.monotonic() >= self._next_due
        if due:
            self._next_due = time.monotonic() + self._every_s
        if due and self._settings.roll_back:
            self._roll_back_what_is_worse()
        if self._child is None and not is_locked(self._data_dir, TRAINING):  # nobody trains by hand
            self._start_next(due)

    def _start_next(self, due: bool) -> None:
        """A run that was cut short goes first, then what people ask for or wait for, then what has become due."""
        if self._to_resume:
            self._train(*self._to_resume.pop(0))
        elif request := self._store.runs.take_request():
            self._train(*request)
        elif time.monotonic() >= self._rest_until and (assistant_id := self._waiting()):
            logger.info("Evaluating %s again ...", assistant_id)
            self._start("reevaluate", "--assistant", assistant_id, *self._options)
        elif due:
            self._start_or_announce()

    def _start_or_announce(self) -> None:
        """A run that has become due is announced at one look and starts at the next, so that nobody is surprised."""
        runs, now, next_look = self._store.runs, time.time(), self._next_due - time.monotonic()
        for assistant in self._store.assistants.all():
            planned = runs.automatic(assistant.id)
            new = new_examples(self._store, assistant.id, self._settings) if planned.allowed else 0
            if new < self._settings.retrain_after:
                if planned.starts_at is not None:
                    runs.announce(assistant.id, None)
            elif planned.starts_at is None:
                runs.announce(assistant.id, now + next_look, f"{new} new rated answers")
            elif planned.starts_at <= now + _TICK_S and self._child is None:
                self._train(assistant.id, f"by itself: {new} new rated answers")

    def _waiting(self) -> str | None:
        """The first assistant where people have judged a candidate's answers, or have edited the prompt."""
        store, names = self._store, (one.id for one in self._store.assistants.all())
        return next((id for id in names if pending(store, id) or next_try(store, id)), None)

    def interrupted_runs(self) -> list[tuple[str, str]]:
        """Runs to resume: (assistant, trigger); not those that somebody started by hand with other settings."""
        found = [interrupted(self._store, self._data_dir, one.id) for one in self._store.assistants.all()]
        return [
            (run.assistant_id, f"run {run.id} was interrupted")
            for run in found
            if run
            and run.settings == self._settings.as_record()
            and len(self._store.runs.events(run.id, RESUME)) < _MOST_RESUMED
        ]

    def _train(self, assistant_id: str, trigger: str) -> None:
        logger.info("Training %s (%s) ...", assistant_id, trigger)
        self._store.runs.announce(assistant_id, time.time(), trigger)  # until the process has started its run
        self._began = assistant_id, trigger, self._store.runs.all(assistant_id, limit=1)
        self._start("once", "--assistant", assistant_id, "--trigger", trigger, *self._options)

    def _start(self, command: str, *words: str) -> None:
        self._child = subprocess.Popen(
            [*self._command, command, "--data-dir", str(self._data_dir), *words],
            stdout=subprocess.DEVNULL,  # a run's result quotes answers; it is on the Training page, not in a log
            preexec_fn=stand_behind,
            process_group=0,  # to end it with all that it started; the session stays, by which the app finds it
        )

    def _finish_child(self, child: subprocess.Popen[bytes]) -> None:
        self._child, runs = None, self._store.runs
        logger.info(
            "The process ended with status %d; the Training page and `python -m trainer report` say how it went.",
            child.returncode,
        )
        if self._began is not None:  # it may have ended before it came to a run
            runs.announce(self._began[0], None)
        if child.returncode != 0:
            self._rest_until = time.monotonic() + _REST_S
            why = f"The training process ended with status {child.returncode}."
            self._interrupt_running(why)
            if self._began is not None and not self._stop.is_set():
                assistant_id, trigger, before = self._began
                if runs.all(assistant_id, limit=1) == before:  # a failed run, or it would be started for ever
                    run = runs.start(assistant_id, self._settings.as_record(), trigger)
                    why += " logs/trainer.log in the data directory says more."
                    runs.finish(run.id, RunStatus.FAILED, why, {})
        self._began = None

    def _interrupt_running(self, reason: str) -> None:
        """Mark runs that a crash left running; not those of a trainer that is at work elsewhere."""
        try:
            with Lock(self._data_dir, TRAINING):
                self._store.runs.interrupt_running(reason)
        except LockTaken as taken:
            logger.info("%s", taken)

    def _roll_back_what_is_worse(self) -> None:
        for assistant in self._store.assistants.all():
            worse = worse_than_before(self._store, assistant.id)
            if worse is None:
                continue
            logger.warning("%s is worse since the last swap: %s. Rolling back ...", assistant.id, worse)
            try:
                with acting(TRAINER):
                    roll_back(self._store, self._data_dir, assistant.id, f"worse since the swap: {worse}")
            except (StoreError, NoServer, VllmError, BadAdapter) as error:
                logger.error("%s", error)  # what is recorded is served as soon as a server answers


def _end(child: subprocess.Popen[bytes]) -> None:
    """Terminate it, so that the run is recorded as interrupted; kill it with its group where it ignores that."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def new_examples(store: Store, assistant_id: str, settings: TrainerSettings) -> int:
    """Approved examples that no run has seen, and answers that people have accepted since: a candidate may pass now
    that was refused. 0 while there are too few to train at all, or a run is under way.

    What the last run could not use is not counted, nor what a run that came to no dataset had before it: else both
    would be new for ever.
    """
    runs = store.runs.all(assistant_id)
    if any(run.status is RunStatus.RUNNING for run in runs):
        return 0
    record = newest_record(store, assistant_id)
    unused = {*record.get("outgrown", ()), *record.get("duplicates", ())}
    try:
        found = draft(store, assistant_id, settings)
    except RedactionError:  # the run will say what is wrong
        found = draft(store, assistant_id, replace(settings, privacy=False))
    usable = [e for e in found.examples if e.message_id not in unused]
    if shortage(usable, settings):
        return 0
    examples = [e for e in usable if e.approved]
    answers = {one.message_id: one for one in found.deduplicated.answers}
    if runs and runs[0].dataset_id is None:
        since = [e for e in examples if _since(runs[0].started_at, answers[e.message_id].judged_at)]
        if not since or runs[0].status is not RunStatus.NOT_ENOUGH:
            examples = since
    untrained = {run.dataset_id for run in runs if run.trigger in AFTER_EDIT}
    trained = [run.dataset_id for run in runs if run.dataset_id and run.dataset_id not in untrained]
    if not trained:
        return len(examples)
    dataset = store.datasets.get(trained[0])
    seen = {example.message_id: example.completion for example in dataset.examples if example.approved}
    new = sum(seen.get(e.message_id) != e.completion for e in examples)
    accepted = not right_or_wrong(store.assistants.get(assistant_id).scorer) and sum(
        one.accepted is True and _since(dataset.created_at, one.decided_at or 0.0)
        for one in store.judgement_requests.decided(assistant_id)
    )
    return new + accepted


def _since(start: float, at: float) -> bool:
    """What a wrong clock has put into the future would be news for ever."""
    return start <= at <= time.time()


def stand_behind() -> None:
    """Training processes stand behind chat. The session of a terminal, which has a person's other work in it, is left
    as it is.
    """
    lower_priority(_NICE, None if _has_terminal() else BEHIND_THE_APP + _NICE)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
