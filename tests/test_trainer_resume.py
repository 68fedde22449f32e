"""A retrain that is killed goes on where it was, as the same run; one that became another starts anew.

The kills are real: `python -m trainer once` in a process of its own, ended by a signal in the middle of training.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from retrain_scene import PROMPT, SETTINGS, Scene
from typer.testing import CliRunner

from assistant.assistants import save_prompt
from assistant.embedding import Embedder
from store.lock import TRAINING, is_locked
from store.records import RunStatus
from trainer.__main__ import app
from trainer.context import TrainingContext
from trainer.run import resume
from trainer.training import finetune as finetuning
from trainer.training.checkpoints import last_checkpoint
from trainer.watch import Watch

ROOT = Path(__file__).parent.parent
EPOCHS = 12  # of about 10 steps, about 50 ms each: long enough to be hit in the middle
LONG = replace(SETTINGS, epochs=EPOCHS, examples_per_step=8)
SHORT = replace(LONG, epochs=2)
SET = [
    word
    for name in [
        "learning_rate",
        "rank",
        "margin",
        "min_train",
        "min_gate",
        "max_answer_tokens",
        "examples_per_step",
    ]
    for value in (LONG.as_record()[name],)
    for word in ("--set", f"{name}={value[0] if isinstance(value, list) else value}")
] + ["--set", f"epochs={EPOCHS}"]


def command(scene: Scene, *words: str) -> list[str]:
    return [sys.executable, "-m", "trainer", words[0], "--data-dir", str(scene.context.data_dir), *words[1:]]


def start(scene: Scene, *words: str) -> subprocess.Popen[str]:
    """One thread, as the tests themselves have: another number of threads rounds differently."""
    return subprocess.Popen(
        command(scene, *words),
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=300)[0]


def step(scene: Scene) -> int:
    """How far the newest run has come."""
    runs = scene.store.runs.all("bank")
    events = scene.store.runs.events(runs[0].id, "train") if runs else []
    return max((event.data["step"] for event in events), default=0)


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 300  # torch alone takes a minute to import on a busy machine
    while not what():
        assert process.poll() is None, output(process)
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def interrupting(scene: Scene, monkeypatch: pytest.MonkeyPatch, at: int) -> Iterator[None]:
    """Ctrl-C at a step of a run in this process."""
    honest = finetuning._check

    def check(step: int, *numbers: float) -> None:
        if step == at:
            raise KeyboardInterrupt
        honest(step, *numbers)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(finetuning, "_check", check)
        yield


def test_a_run_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(
    scene: Scene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.rate(60)
    monkeypatch.setattr("trainer.context.Embedder", Embedder)  # the other process has no other
    scene.context = TrainingContext.open(scene.store, scene.context.data_dir, LONG)
    child = start(scene, "once", *SET)
    wait_for(lambda: step(scene) > 20, child)
    child.kill()
    child.communicate()
    assert scene.store.runs.all("bank")[0].status is RunStatus.RUNNING

    run = scene.run(**vars(LONG))

    (resumed,) = scene.store.runs.events(run.id, "resume")
    training = run.report["training"]
    steps = training["steps"]
    assert f"Resumed run 1 at step {resumed.data['step']} of {steps}." in capsys.readouterr().out
    assert resumed.data["step"] >= 8 and "killed or crashed" in resumed.data["interruption"]
    assert run.id == 1 and run.status is RunStatus.PROMOTED and run.adapter == "bank-v0001"
    assert training["resumed_at"] == resumed.data["step"] and 96 <= steps <= 12 * 12
    assert run.report["environment"]["threads"] == 1

    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the tests keep their own
    words = command(scene, "rerun", "1", "--tolerance", "0")[3:]
    done = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert (
        f"The same losses (max difference 0 in {steps} steps)" in done.output
        and "the very same" in done.output
    )


def test_a_sigterm_ends_a_run_as_interrupted_and_it_can_go_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.rate(60)
    child = start(scene, "once", *SET)
    wait_for(lambda: step(scene) > 10, child)
    child.send_signal(signal.SIGTERM)
    said = output(child)
    assert child.returncode == 130, said
    (run,) = scene.store.runs.all("bank")
    assert run.status is RunStatus.INTERRUPTED and "The next retrain goes on from step" in run.message
    assert "The next retrain goes on from step" in said and not is_locked(scene.context.data_dir, TRAINING)
    found = last_checkpoint(scene.context.work_dir(run.id))
    assert found is not None and found.step >= 8

    data_dir = scene.context.data_dir
    assert Watch(scene.store, data_dir, LONG, [], 3600.0).interrupted_runs() == [
        ("bank", "run 1 was interrupted")
    ]
    other = Watch(scene.store, data_dir, replace(LONG, epochs=1), [], 3600.0)
    assert other.interrupted_runs() == [], "by hand, with other settings: not for the watch to resume"

    assert scene.run(**vars(LONG)).id == run.id


def test_what_is_no_longer_the_same_run_starts_anew(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.rate(60)
    with interrupting(scene, monkeypatch, at=14):
        scene.run(**vars(SHORT))
    context = replace(scene.context, settings=SHORT)
    assert resume(replace(context, settings=replace(SHORT, variants=2)), "bank") is None
    assert "Run 1 was interrupted and does not go on: other settings are asked for (variants)." in (
        capsys.readouterr().out
    )
    with monkeypatch.context() as patched:
        patched.setattr("trainer.training.environment.version", lambda name: "0.0")
        assert resume(context, "bank") is None
    said = capsys.readouterr().out
    assert "torch was 2." in said and "now it is 0.0" in said
    save_prompt(scene.store, scene.tokenizer, "bank", PROMPT[:2])
    scene.try_untrained(False)
    scene.rate(61)
    run = scene.run(**vars(SHORT))
    assert "the approved answers have changed; the prompt was edited." in capsys.readouterr().out
    assert run.id == 2 and run.status is RunStatus.PROMOTED
    assert not scene.context.work_dir(1).exists(), "nothing goes on from there any more"


def test_a_run_that_was_stopped_in_the_gate_keeps_its_training_and_publishes_anew(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.rate(60)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):

        async def stop(*_: object) -> None:
            raise KeyboardInterrupt

        patched.setattr("trainer.evaluation.gate_evaluation.GateEvaluation.evaluate", stop)
        scene.run()
    assert not scene.vllm.adapters, "what was not judged does not keep a slot"
    run = scene.run()
    assert run.id == 1 and run.status is RunStatus.PROMOTED, run.message
    assert (
        run.adapter == "bank-v0001-2"
        and run.report["training"]["resumed_at"] == run.report["training"]["steps"]
    )
    assert {adapter.name for adapter in scene.store.adapters.all("bank")} == {"bank-v0001", "bank-v0001-2"}


def test_stopping_after_the_swap_does_not_undo_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.rate(60)

    async def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("trainer.promotion._measure_saving", stop)
        scene.run()
    (run,) = scene.store.runs.all("bank")
    active = scene.store.deployments.active("bank")
    assert active is not None and active.run_id == run.id
    assert run.status is RunStatus.PROMOTED and "before the time it saves was measured" in run.message


def test_a_run_that_dies_again_and_again_waits_for_a_person(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.rate(60)
    watch = Watch(scene.store, scene.context.data_dir, SHORT, [], 3600.0)
    for _ in range(2):
        with interrupting(scene, monkeypatch, at=14):
            scene.run(**vars(SHORT))
        assert watch.interrupted_runs()
    for _ in range(2):  # as each time that it goes on
        scene.store.runs.add_event(1, "resume", {})
    assert not watch.interrupted_runs()
    run = scene.run(**vars(SHORT))
    assert run.id == 1 and run.status is RunStatus.PROMOTED
