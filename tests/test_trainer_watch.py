"""When a retrain starts by itself."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from imported_turns import ImportedTurn, load_turns
from waiting import PATIENCE_S, wait_for

from store import Store
from store.lock import TRAINING, WATCH, Lock, LockTaken, is_locked
from store.records import MessageStatus, Role, RunStatus, Segment, SegmentKind, Usage, Verdict
from trainer import watch as watching_module
from trainer.deployment.rollback_monitor import worse_than_before
from trainer.examples.dataset import content_hash, draft
from trainer.settings import TrainerSettings
from trainer.watch import Watch, new_examples

SETTINGS = TrainerSettings(min_train=20, min_gate=10, retrain_after=30)


@pytest.fixture
def bank(store: Store) -> Store:
    store.assistants.create("bank", "Bank", "exact")
    store.prompts.add("bank", [Segment("a", SegmentKind.INSTRUCTION, text="Be brief.")])
    return store


def rate(store: Store, first: int, last: int, verdict: Verdict = Verdict.UP) -> None:
    load_turns(
        store,
        "bank",
        [ImportedTurn(f"c{n}", f"question {n}", f"answer {n}", verdict) for n in range(first, last)],
    )


def train(store: Store) -> None:
    """What a run leaves behind once it has frozen its dataset."""
    found = draft(store, "bank", SETTINGS)
    store.splits.record(found.deduplicated.splits)
    run = store.runs.start("bank", {}, "test")
    prompt = store.prompts.latest("bank")
    dataset = store.datasets.add("bank", prompt.id, content_hash(found.examples), found.examples, {})
    store.runs.update(run.id, dataset_id=dataset.id)
    store.runs.finish(run.id, RunStatus.REFUSED, "", {})


def test_examples_are_new_until_a_run_has_seen_them(bank: Store) -> None:
    rate(bank, 0, 10)
    assert new_examples(bank, "bank", SETTINGS) == 0, "too few to train"
    rate(bank, 10, 80)
    assert new_examples(bank, "bank", SETTINGS) == 80
    train(bank)
    assert new_examples(bank, "bank", SETTINGS) == 0
    rate(bank, 80, 87)
    rate(bank, 87, 90, Verdict.DOWN)
    assert new_examples(bank, "bank", SETTINGS) == 7


def test_answers_that_people_accepted_since_the_last_run_are_news(bank: Store) -> None:
    with bank._file.writing() as transaction:  # where answers are right or wrong, they change the gate alone
        transaction.execute("UPDATE assistants SET scorer = 'chrf'")
    rate(bank, 0, 100)
    train(bank)
    known = new_examples(bank, "bank", SETTINGS)
    run = bank.runs.start("bank", {}, "test")
    bank.runs.finish(run.id, RunStatus.REFUSED, "no", {})
    answers = [answer.message_id for answer in bank.answers.rated("bank")[:3]]
    bank.judgement_requests.add(run.id, [(id, "as good") for id in answers])
    first, second, _ = bank.judgement_requests.open("bank")
    assert new_examples(bank, "bank", SETTINGS) == known
    bank.judgement_requests.choose([first.id], [first.id], "bo")
    bank.judgement_requests.choose([second.id], [], "bo")
    assert new_examples(bank, "bank", SETTINGS) == known + 1
    train(bank)
    assert new_examples(bank, "bank", SETTINGS) == 0


def test_what_outgrew_the_context_is_not_news_for_ever(bank: Store) -> None:
    """The run dropped it after selection, so no dataset holds it; another look must not start another run."""
    rate(bank, 0, 80)
    train(bank)
    rate(bank, 80, 120)
    assert new_examples(bank, "bank", SETTINGS) == 40
    late = [a.message_id for a in bank.answers.rated("bank") if int(a.conversation_id[1:]) >= 80]
    run = bank.runs.start("bank", {}, "test")
    bank.runs.add_event(run.id, "dataset", {"train": 48, "dropped": {}, "outgrown": late})
    assert new_examples(bank, "bank", SETTINGS) == 0, "one is under way"
    bank.runs.finish(run.id, RunStatus.NOT_ENOUGH, "", {})
    assert new_examples(bank, "bank", SETTINGS) == 0
    rate(bank, 120, 123)
    assert new_examples(bank, "bank", SETTINGS) == 3


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.INTERRUPTED, RunStatus.NOT_ENOUGH])
def test_a_run_that_came_to_no_dataset_is_not_tried_again_while_nothing_changes(
    bank: Store, status: RunStatus
) -> None:
    rate(bank, 0, 80)
    assert new_examples(bank, "bank", SETTINGS) == 80
    bank.runs.finish(bank.runs.start("bank", {}, "test").id, status, "A pattern is too slow.", {})
    assert new_examples(bank, "bank", SETTINGS) == 0
    rate(bank, 80, 83)
    assert new_examples(bank, "bank", SETTINGS) == (83 if status is RunStatus.NOT_ENOUGH else 3)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching_module, "_TICK_S", 0.1)


class Recorder:
    """Stands in for `python -m trainer once`: writes its arguments down and takes as long as it is told."""

    def __init__(self, folder: Path, seconds: float = 0.0, status: int = 0, deaf: bool = False):
        self._calls = folder / "calls"
        script = folder / "once.py"
        script.write_text(
            "import os, signal, sys, time\n"
            f"signal.signal(signal.SIGTERM, signal.SIG_IGN if {deaf} else signal.SIG_DFL)\n"
            f"{'os.fork()' if deaf else ''}\n"
            f"open({str(self._calls)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
            f"time.sleep({seconds})\nsys.exit({status})\n"
        )
        self.command = [sys.executable, str(script)]

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []


@contextmanager
def watching(
    store: Store,
    folder: Path,
    recorder: Recorder,
    every_s: float = 3600.0,
    settings: TrainerSettings = SETTINGS,
) -> Iterator[Watch]:
    watch = Watch(store, folder, settings, [], every_s)
    watch._command = recorder.command
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_a_request_from_the_page_starts_a_run_once(bank: Store, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    bank.runs.request("bank", "asked on the page")
    with watching(bank, tmp_path, recorder):
        assert wait_for(lambda: recorder.calls)
    assert recorder.calls == [f"once --data-dir {tmp_path} --assistant bank --trigger asked on the page"]
    assert bank.runs.take_request() is None


def test_what_a_run_prints_is_in_no_log(
    bank: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its result quotes answers: a text that all examples share, or a word that one rater pushes."""
    recorder = Recorder(tmp_path)
    recorder.command[1:] = ["-c", f"print('a secret'); open({str(tmp_path / 'calls')!r}, 'a').write('x')"]
    bank.runs.request("bank", "Train now")
    with watching(bank, tmp_path, recorder):
        assert wait_for(lambda: recorder.calls)
    assert "secret" not in "".join(capfd.readouterr())


class Clock:
    """The time as the watch sees it, which the test moves on."""

    ahead_s = 0.0

    def time(self) -> float:
        return time.time() + self.ahead_s

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(watching_module, "time", made)
    return made


def test_enough_new_examples_start_a_run(bank: Store, tmp_path: Path, clock: Clock) -> None:
    rate(bank, 0, 80)
    recorder = Recorder(tmp_path)
    with watching(bank, tmp_path, recorder, every_s=3600.0):
        clock.ahead_s += 3600.0
        assert wait_for(lambda: bank.runs.automatic("bank").starts_at)
        announced = bank.runs.automatic("bank")
        assert announced.reason == "80 new rated answers" and recorder.calls == []
        assert 3000.0 < (announced.starts_at or 0.0) - clock.time() < 3700.0, "at the next look"
        clock.ahead_s += 3600.0
        assert wait_for(lambda: recorder.calls)
    assert recorder.calls[0].endswith("--assistant bank --trigger by itself: 80 new rated answers")
    assert bank.runs.automatic("bank").starts_at is None


@pytest.mark.parametrize("changed", ["switched off", "not enough any more"])
def test_what_was_announced_does_not_start_when_it_should_not_any_more(
    bank: Store, tmp_path: Path, clock: Clock, changed: str
) -> None:
    rate(bank, 0, 80)
    recorder = Recorder(tmp_path)
    with watching(bank, tmp_path, recorder, every_s=3600.0):
        clock.ahead_s += 3600.0
        assert wait_for(lambda: bank.runs.automatic("bank").starts_at)
        if changed == "switched off":
            bank.runs.allow_automatic("bank", False)
        else:
            train(bank)
        clock.ahead_s += 3600.0
        assert wait_for(lambda: bank.runs.automatic("bank").starts_at is None)
        time.sleep(0.5)
    assert recorder.calls == [] and bank.runs.automatic("bank").starts_at is None


def test_a_candidate_is_evaluated_again_when_people_have_decided(
    bank: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, waiting = Recorder(tmp_path), []
    monkeypatch.setattr(
        watching_module, "pending", lambda store, name: waiting and not recorder.calls and waiting[0] or None
    )
    with watching(bank, tmp_path, recorder):
        time.sleep(0.5)
        assert recorder.calls == [], "people have not decided"
        waiting.append(bank.runs.start("bank", {}, "test"))
        assert wait_for(lambda: recorder.calls)
        time.sleep(0.5)
    assert recorder.calls == [f"reevaluate --data-dir {tmp_path} --assistant bank"]


def test_a_reevaluation_that_cannot_begin_is_not_tried_again_at_once(
    bank: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server answers, say; what a person asks for starts all the same."""
    recorder, waiting = Recorder(tmp_path, status=2), bank.runs.start("bank", {}, "test")
    monkeypatch.setattr(watching_module, "pending", lambda store, name: waiting)
    with watching(bank, tmp_path, recorder):
        assert wait_for(lambda: recorder.calls)
        time.sleep(0.5)
        bank.runs.request("bank", "asked")
        assert wait_for(lambda: len(recorder.calls) > 1)
    assert [call.split()[0] for call in recorder.calls] == ["reevaluate", "once"]


def test_a_process_that_ends_before_its_run_begins_is_a_failed_run_and_not_started_again(
    bank: Store, tmp_path: Path
) -> None:
    rate(bank, 0, 80)
    recorder = Recorder(tmp_path, status=2)
    with watching(bank, tmp_path, recorder, every_s=0.1):
        assert wait_for(lambda: bank.runs.all("bank"))
        time.sleep(0.5)
    (run,) = bank.runs.all("bank")
    assert run.status is RunStatus.FAILED and "status 2" in run.message and len(recorder.calls) == 1
    assert new_examples(bank, "bank", SETTINGS) == 0


@pytest.mark.parametrize("by_hand", [False, True])
def test_new_examples_ask_for_one_run_and_not_for_one_at_every_look(
    bank: Store, tmp_path: Path, by_hand: bool
) -> None:
    """A run takes minutes; requests must not pile up meanwhile, whoever asked for it."""
    rate(bank, 0, 80)
    if by_hand:
        bank.runs.request("bank", "asked on the page")
    recorder = Recorder(tmp_path, seconds=3600)
    with watching(bank, tmp_path, recorder, every_s=0.1):
        assert wait_for(lambda: recorder.calls)
        time.sleep(0.6)
        assert bank.runs.take_request() is None


def test_a_run_that_crashed_is_not_left_running(bank: Store, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, status=1)
    run = bank.runs.start("bank", {}, "test")
    with watching(bank, tmp_path, recorder):
        assert wait_for(lambda: bank.runs.get(run.id).status is RunStatus.INTERRUPTED)
        crashed = bank.runs.start("bank", {}, "test")
        bank.runs.request("bank", "again")
        assert wait_for(lambda: bank.runs.get(crashed.id).status is RunStatus.INTERRUPTED)
    assert "status 1" in bank.runs.get(crashed.id).message


def test_a_training_that_ignores_the_end_is_killed_with_all_it_started(
    bank: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching_module, "_GRACE_S", 0.5)
    recorder = Recorder(tmp_path, seconds=3600, deaf=True)
    bank.runs.request("bank", "asked")
    with watching(bank, tmp_path, recorder):
        assert wait_for(lambda: len(recorder.calls) == 2)  # the process and the one that it forked
    assert not is_locked(tmp_path, WATCH)
    script = recorder.command[1]
    assert wait_for(lambda: not [p for p in psutil.process_iter() if _runs(p, script)])


def _runs(process: psutil.Process, script: str) -> bool:
    try:
        return script in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def test_a_run_of_another_trainer_is_left_alone(bank: Store, tmp_path: Path) -> None:
    """Somebody runs `once` by hand while the app starts: its run is running, and a request waits until it is done."""
    run = bank.runs.start("bank", {}, "by hand")
    recorder = Recorder(tmp_path)
    bank.runs.request("bank", "asked")
    with Lock(tmp_path, TRAINING), watching(bank, tmp_path, recorder):
        time.sleep(0.5)
        assert bank.runs.get(run.id).status is RunStatus.RUNNING and recorder.calls == []
    with watching(bank, tmp_path, recorder):
        assert wait_for(lambda: recorder.calls), "the request was not lost"


def serve(store: Store, verdict: Verdict, count: int, run: int | None) -> int:
    """A new deployment, active, whose answers all get the verdict."""
    prompt = store.prompts.latest("bank")
    deployment = store.deployments.activate(
        store.deployments.add("bank", prompt.id, None, ("a",), 0, 3, run).id
    )
    with store._file.writing():
        for _ in range(count):
            talk = store.conversations.create("bank")
            asked = store.messages.add(talk.id, None, Role.USER, "When?")
            usage = Usage(50, 40, 32, 9, 0.25, 1.0)
            said = store.messages.add(
                talk.id, asked.id, Role.ASSISTANT, "At nine.", MessageStatus.COMPLETE, deployment.id, usage
            )
            store.ratings.add(said.id, "local", verdict)
    return deployment.id


def serving(store: Store) -> int | None:
    active = store.deployments.active("bank")
    return active and active.id


def test_a_swap_that_people_dislike_is_taken_back_once(
    bank: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = serve(bank, Verdict.UP, 20, None)
    worse = serve(bank, Verdict.DOWN, 10, bank.runs.start("bank", {}, "test").id)
    with watching(bank, tmp_path, Recorder(tmp_path), every_s=0.1):
        assert wait_for(lambda: serving(bank) == first)
        time.sleep(0.5)
    log = bank.deployments.activations("bank")
    assert [item.deployment_id for item in log] == [first, worse, first]
    assert "worse since the swap: rated down 10 of 10 times, before the swap 0 of 20 times" in log[-1].reason
    assert "bank is worse since the last swap" in caplog.text


def test_a_swap_is_left_alone_where_people_want_that(bank: Store, tmp_path: Path) -> None:
    serve(bank, Verdict.UP, 20, None)
    worse = serve(bank, Verdict.DOWN, 10, bank.runs.start("bank", {}, "test").id)
    with watching(bank, tmp_path, Recorder(tmp_path), 0.1, replace(SETTINGS, roll_back=False)):
        time.sleep(0.5)
    assert serving(bank) == worse


def test_what_a_person_put_there_is_theirs_to_take_back(bank: Store) -> None:
    serve(bank, Verdict.UP, 20, None)
    serve(bank, Verdict.DOWN, 10, None)
    assert worse_than_before(bank, "bank") is None


def test_one_watch_serves_a_data_directory(bank: Store, tmp_path: Path) -> None:
    with Lock(tmp_path, WATCH), pytest.raises(LockTaken, match=f"process {os.getpid()}"):
        Watch(bank, tmp_path, SETTINGS, [], 60).run()
