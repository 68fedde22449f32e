"""A rerun rebuilds an adapter from its record alone, with the same losses, or says why it cannot."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from retrain_scene import SETTINGS, Scene
from tiny_model import write_model

from assistant.adapter_files import MANIFEST
from assistant.embedding import default_model
from assistant.serving import ServerAddress
from trainer.context import RunProgress
from trainer.examples.dataset import snapshot
from trainer.rerun import NoRerun, Rerun, rerun
from trainer.settings import BadSetting
from trainer.training.environment import environment


def again(
    scene: Scene, run: int = 1, on_step: Callable[[int, int], None] = lambda step, steps: None
) -> Rerun:
    return rerun(scene.store, scene.context.data_dir, run, on_step)


def test_a_rerun_gives_the_same_losses_and_weights_beside_the_published_adapter(scene: Scene) -> None:
    scene.rate(60)
    run = scene.run(epochs=2)
    before = scene.store.deployments.active("bank")
    progress: list[tuple[int, int]] = []
    first, second = again(scene, on_step=lambda *step: progress.append(step)), again(scene)
    for found in (first, second):
        assert found.differs_at(0.0) is None and found.weights_equal is True
        assert len(found.recorded) == run.report["training"]["steps"] and not found.warnings
    same = f"The same losses (max difference 0 in {run.report['training']['steps']} steps)."
    assert first.verdict(0.0).startswith(same), first.verdict(0)
    assert "Its weights are the very same." in first.verdict(0.0)
    assert (
        Path(first.adapter).name == "bank-v0001-rerun" and Path(second.adapter).name == "bank-v0001-rerun-2"
    )
    assert (Path(first.adapter) / MANIFEST).exists()
    assert progress[-1] == (run.report["training"]["steps"],) * 2
    assert scene.store.deployments.active("bank") == before and len(scene.store.adapters.all("bank")) == 1


def test_the_verdict_names_the_first_step_that_differs() -> None:
    found = Rerun(3, "adapters/x", {1: 2.0, 2: 1.0, 3: 0.5}, {1: 2.0, 2: 1.25, 3: 0.5}, False, ())
    assert found.differs_at(0.3) is None and found.differs_at(0.2) == 2
    assert "differ from step 2 on: 1.000000 in run 3, 1.250000 now (0.2 allowed" in found.verdict(0.2)
    assert "not bit for bit" in found.verdict(0.3)
    nothing = Rerun(3, "adapters/x", {1: 2.0}, {1: float("nan")}, None, ())
    assert nothing.differs_at(1.0) == 1 and "Its weights" not in nothing.verdict(1.0)
    short = Rerun(3, "adapters/x", {1: 2.0, 2: 1.0}, {1: 2.0}, None, ())
    assert short.differs_at(1.0) == 2 and "end before step 2" in short.verdict(1.0)


def test_another_seed_is_another_run(scene: Scene) -> None:
    scene.rate(40)
    scene.run()
    with scene.store._file.writing() as transaction:
        transaction.execute("UPDATE runs SET settings = json_set(settings, '$.seed', 5)")
    found = again(scene)
    assert found.differs_at(1e-4) == 1 and found.verdict(1e-4).startswith("The losses differ from step 1 on")
    assert found.weights_equal is False


def test_threads_and_precision_are_those_of_the_run_and_other_versions_are_warnings(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.rate(40)
    monkeypatch.delenv("SHORTHAND_PRECISION", raising=False)  # which would force it
    monkeypatch.setattr("torch.cpu.get_capabilities", dict)
    scene.run()
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr("trainer.training.environment.version", lambda name: "0.0")
    try:
        torch.set_num_threads(2)
        found = again(scene)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(1)
    assert found.differs_at(0.0) is None and found.weights_equal is True and len(found.warnings) == 5
    assert found.warnings[0].startswith("torch was 2.") and found.warnings[0].endswith("now it is 0.0")
    assert found.warnings[4] == "precision was float32, now it is bfloat16"


@pytest.fixture
def recorded(scene: Scene) -> Scene:
    """What a run leaves behind that has trained a step."""
    scene.rate(40)
    store = scene.store
    run = store.runs.start("bank", SETTINGS.as_record(), "test")
    snapshot(scene.context, run, RunProgress(store, run.id))
    store.runs.add_event(run.id, "environment", environment(scene.context.base))
    store.runs.add_event(run.id, "train", {"step": 1, "steps": 1, "loss": 2.0})
    return scene


def test_another_base_model_is_refused(recorded: Scene, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", seed=1)
    ServerAddress((recorded.vllm.url,), None, str(other), 2048, str(default_model()), 256).write(tmp_path)
    with pytest.raises(NoRerun, match="another base model.*Start the app with that model"):
        again(recorded)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("DELETE FROM dataset_examples WHERE position < 3", r"examples of it were erased \(77 are left\)"),
        ("UPDATE runs SET settings = json_set(settings, '$.warp', 9)", "unknown: warp"),
        ("UPDATE runs SET settings = json_remove(settings, '$.rank')", "missing: rank"),
        ("DELETE FROM run_events WHERE phase = 'environment'", "before its first training step"),
        ("DELETE FROM run_events WHERE phase = 'train'", "no losses to compare"),
        ("UPDATE runs SET dataset_id = NULL", "froze no dataset"),
    ],
)
def test_an_incomplete_record_is_refused(recorded: Scene, change: str, words: str) -> None:
    with recorded.store._file.writing() as transaction:
        transaction.execute(change)
    with pytest.raises((NoRerun, BadSetting), match=words):
        again(recorded)
