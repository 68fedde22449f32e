"""When to retrain: on request, or when enough new approved examples have come in.

In: the store. Out: `python -m trainer once` as a child process, one at a time, so that the memory of a run goes
back to the chat when it is done. Does not know how training works.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from apscheduler.schedulers.background import BackgroundScheduler

from store import Store
from store.records import RunStatus
from trainer.dataset import make_examples, shortage
from trainer.lease import Lease
from trainer.selection import select
from trainer.settings import TrainerSettings
from trainer.splits import assign

WATCH_LEASE = "trainer-watch"
_TICK_S = 1.0
_NICE = 10  # chat answers go before training steps when both want the cores


class Watch:
    """Polls for requests every second and looks for new examples every `every_s` seconds."""

    def __init__(
        self, store: Store, data_dir: Path, settings: TrainerSettings, options: Sequence[str], every_s: float
    ):
        self._store = store
        self._settings = settings
        self._command = [sys.executable, "-m", "trainer", "once", "--data-dir", str(data_dir), *options]
        self._every_s = every_s
        self._stop = threading.Event()
        self._asked: set[str] = set()  # a run takes minutes; one request is enough until it is done

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Until `stop`; raises LeaseTaken when another watch serves this data directory."""
        with Lease(self._store, WATCH_LEASE):
            self._store.interrupt_running_runs("The trainer was stopped or crashed during this run.")
            scheduler = BackgroundScheduler()
            scheduler.add_job(self._look_for_examples, "interval", seconds=self._every_s, coalesce=True)
            scheduler.start()
            try:
                while not self._stop.wait(_TICK_S):
                    request = self._store.take_training_request()
                    if request is not None:
                        self._train(*request)
                        self._asked.discard(request[0])
            finally:
                scheduler.shutdown(wait=False)

    def _train(self, assistant_id: str, trigger: str) -> None:
        print(f"Training {assistant_id} ({trigger}) ...", flush=True)
        child = subprocess.Popen(
            [*self._command, "--assistant", assistant_id, "--trigger", trigger], preexec_fn=_yield_to_chat
        )
        while child.poll() is None:
            if self._stop.wait(_TICK_S):
                child.terminate()
        if child.returncode != 0:
            self._store.interrupt_running_runs(f"The training process ended with status {child.returncode}.")

    def _look_for_examples(self) -> None:
        for assistant in self._store.assistants():
            if assistant.id in self._asked:
                continue
            if new_examples(self._store, assistant.id, self._settings) >= self._settings.retrain_after:
                self._asked.add(assistant.id)
                self._store.request_training(assistant.id, "enough new examples")


def _yield_to_chat() -> None:
    os.nice(_NICE)


def new_examples(store: Store, assistant_id: str, settings: TrainerSettings) -> int:
    """Approved examples that no run has seen; 0 while there are too few to train at all, or a run is under way."""
    approved, _ = select(store.rated_answers(assistant_id), settings.max_answer_characters)
    questions = {item.answer.conversation_id: item.answer.context[0][1] for item in approved}
    examples = make_examples(approved, assign(questions, store.splits(assistant_id)))
    if shortage(examples, settings):
        return 0
    runs = store.runs(assistant_id)
    if any(run.status is RunStatus.RUNNING for run in runs):
        return 0
    seen: set[tuple[str, str]] = set()
    for run in runs:
        if run.dataset_id is not None:
            seen = {(e.message_id, e.completion) for e in store.dataset(run.dataset_id).examples}
            break
    return sum((example.message_id, example.completion) not in seen for example in examples)
