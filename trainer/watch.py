"""When to retrain, on request or when enough new approved examples have come in; when to hear a candidate again; and
when to take a swap back.

In: the store. Out: `python -m trainer once` or `hear` as a child process, one at a time, so that the memory of a run
goes back to the chat when it is done; rollbacks. Does not know how training works or what is worse.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from apscheduler.schedulers.background import BackgroundScheduler

from assistant.adapter_files import BadAdapter
from assistant.server_file import NoServer
from assistant.vllm_client import VllmError
from store import Store, StoreError
from store.audit import TRAINER, acting
from store.records import RatedAnswer, RunStatus, TrainingRun
from trainer.examples.dataset import shortage
from trainer.examples.intake import take_in
from trainer.examples.thinning import thin
from trainer.lease import Lease, LeaseTaken, is_taken
from trainer.privacy.cleaning import clean
from trainer.privacy.errors import NotScreened
from trainer.privacy.screening import screen_of
from trainer.proof.hearing import pending
from trainer.resumption import interrupted
from trainer.settings import TrainerSettings
from trainer.swapping.rollback import roll_back, worse_than_before
from trainer.yielding import yield_to_chat

WATCH_LEASE = "trainer-watch"
_TICK_S = 1.0
_HEAR_EVERY_S = 10.0  # between two looks whether people have decided; they wait for what comes of it
_GRACE_S = 6.0  # less than the 10 s after which the app's leash kills whatever is left


class Watch:
    """Polls for requests every second and looks for new examples every `every_s` seconds."""

    def __init__(
        self, store: Store, data_dir: Path, settings: TrainerSettings, options: Sequence[str], every_s: float
    ):
        self._store = store
        self._data_dir = data_dir
        self._settings = settings
        self._command = [sys.executable, "-m", "trainer"]
        self._options = options
        self._every_s = every_s
        self._stop = threading.Event()
        self._asked: set[str] = set()  # a run takes minutes; one request is enough until it is done
        self._asking = threading.Lock()  # what is asked for while a request is taken would start a second run

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        """Until `stop`; raises LeaseTaken when another watch serves this data directory."""
        with Lease(self._store, WATCH_LEASE):
            self._tidy("The trainer was stopped or crashed during this run.")
            scheduler = BackgroundScheduler()
            scheduler.add_job(self._look_for_examples, "interval", seconds=self._every_s, coalesce=True)
            if self._settings.roll_back:
                scheduler.add_job(self._look_at_answers, "interval", seconds=self._every_s, coalesce=True)
            scheduler.start()
            try:
                self._go_on()
                looked = 0.0
                while not self._stop.wait(_TICK_S):
                    if is_taken(self._store):  # somebody trains by hand; a request is taken once, so it waits
                        continue
                    request = self._take_request()
                    if request is not None:
                        self._train(*request)
                    elif time.monotonic() - looked >= _HEAR_EVERY_S:
                        self._hear()
                        looked = time.monotonic()
            finally:
                scheduler.shutdown()  # waits for a look that is under way: the store may be closed after this

    def _tidy(self, reason: str) -> None:
        """Runs that a crash left running are interrupted; not those of a trainer that is at work elsewhere."""
        try:
            with Lease(self._store):
                self._store.interrupt_running_runs(reason)
        except LeaseTaken as taken:
            print(taken, flush=True)

    def _go_on(self) -> None:
        """Runs that were interrupted, by a crash or because the app was stopped, before anything else.

        One that somebody had started by hand with other settings is left to them.
        """
        for assistant in self._store.assistants():
            found = interrupted(self._store, self._data_dir, assistant.id)
            if found is None or found.run.settings != self._settings.as_record() or self._stop.is_set():
                continue
            if found.may_go_on_unasked:
                self._train(assistant.id, f"run {found.run.id} was interrupted")

    def _take_request(self) -> tuple[str, str] | None:
        """The next one; until its run is done nothing else is asked for. It takes seconds to be in the store."""
        with self._asking:
            request = self._store.take_training_request()
            if request is not None:
                self._asked.add(request[0])
        return request

    def _train(self, assistant_id: str, trigger: str) -> None:
        print(f"Training {assistant_id} ({trigger}) ...", flush=True)
        self._run("once", "--assistant", assistant_id, "--trigger", trigger, *self._options)
        self._asked.discard(assistant_id)

    def _hear(self) -> None:
        """Candidates that were refused and about whose answers people have decided since."""
        for assistant in self._store.assistants():
            if not self._stop.is_set() and pending(self._store, assistant.id) is not None:
                print(f"Hearing the candidate of {assistant.id} again ...", flush=True)
                self._run("hear", "--assistant", assistant.id)

    def _run(self, command: str, *words: str) -> None:
        child = subprocess.Popen(
            [*self._command, command, "--data-dir", str(self._data_dir), *words],
            preexec_fn=yield_to_chat,
            process_group=0,  # to end it with all that it started; the session stays, by which the app finds it
        )
        try:
            while child.poll() is None and not self._stop.wait(_TICK_S):
                pass
        finally:
            _end(child)
        if child.returncode != 0:
            self._tidy(f"The training process ended with status {child.returncode}.")

    def _look_for_examples(self) -> None:
        for assistant in self._store.assistants():
            with self._asking:
                if assistant.id not in self._asked and self._has_enough(assistant.id):
                    self._asked.add(assistant.id)
                    with acting(TRAINER):
                        self._store.request_training(assistant.id, "enough new examples")

    def _has_enough(self, assistant_id: str) -> bool:
        if new_examples(self._store, assistant_id, self._settings) < self._settings.retrain_after:
            return False
        return not too_few_without_personal_data(self._store, assistant_id, self._settings)

    def _look_at_answers(self) -> None:
        for assistant in self._store.assistants():
            worse = worse_than_before(self._store, assistant.id)
            if worse is None:
                continue
            print(f"{assistant.id} is worse since the last swap: {worse}. Rolling back ...", flush=True)
            try:
                with acting(TRAINER):
                    roll_back(self._store, self._data_dir, assistant.id, f"worse since the swap: {worse}")
            except (StoreError, NoServer, VllmError, BadAdapter) as error:
                print(error, flush=True)  # what is noted is served as soon as a server answers


def _end(child: subprocess.Popen[bytes]) -> None:
    """Politely first, so that the run is noted as interrupted; a child that ignores that is killed with its group."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def new_examples(store: Store, assistant_id: str, settings: TrainerSettings) -> int:
    """Approved examples that no run has seen, and proposals that were accepted since: a candidate may pass now that was
    refused. 0 while there are too few to train at all, or a run is under way.

    What the last run could not use (it outgrew the model's context, or enough ask the same) is not counted, else it
    would be new for ever.
    """
    runs = store.runs(assistant_id)
    if any(run.status is RunStatus.RUNNING for run in runs):
        return 0
    unused = _unused(store, runs)
    taken = thin(take_in(store, assistant_id, settings), settings.similar_cap, settings.max_train).intake
    examples = [e for e in taken.examples() if e.approved and e.message_id not in unused]
    if shortage(examples, settings):
        return 0
    dataset = next((store.dataset(run.dataset_id) for run in runs if run.dataset_id is not None), None)
    if dataset is None:
        return len(examples)
    seen = {example.message_id: example.completion for example in dataset.examples}
    # A completion is frozen with placeholders, so that it differs from the approved one without being new.
    rated_since = {
        item.answer.message_id for item in taken.approved if last_judged(item.answer) >= dataset.created_at
    }
    accepted = sum(
        one.accepted is True and (one.decided_at or 0.0) >= dataset.created_at
        for one in store.decided_proposals(assistant_id)
    )
    return accepted + sum(
        example.message_id not in seen
        or (seen[example.message_id] != example.completion and example.message_id in rated_since)
        for example in examples
    )


def last_judged(answer: RatedAnswer) -> float:
    """When somebody rated or reviewed it last (UTC seconds)."""
    judged = [rating.created_at for rating in answer.ratings]
    return max([*judged, answer.decision.created_at] if answer.decision else judged)


def too_few_without_personal_data(store: Store, assistant_id: str, settings: TrainerSettings) -> bool:
    """Whether a run would end with “not enough yet” because questions or answers become the same text.

    Asked only before a retrain is requested: it reads every example, about a millisecond each.
    """
    if not settings.privacy:
        return False
    taken = take_in(store, assistant_id, settings)
    try:
        screen = screen_of(store, assistant_id, store.prompt(taken.prompt_id).segments)
        cleaned = clean(taken, store.splits(assistant_id), screen)
    except NotScreened:
        return False  # the run will say what is wrong
    left = thin(cleaned.intake, settings.similar_cap, settings.max_train).intake
    return shortage(left.examples(), settings) is not None


def _unused(store: Store, runs: Sequence[TrainingRun]) -> set[str]:
    """The message ids that the newest run which looked at the examples could not use."""
    for run in runs:
        for event in store.events(run.id, "dataset"):
            return {*event.data.get("outgrown", ()), *event.data.get("thinned", ())}
    return set()
