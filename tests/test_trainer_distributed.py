"""Two processes train one adapter, as `accelerate launch` has them do: on CPU, over gloo, with the tiny model."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from retrain_scene import SETTINGS, Scene

from assistant.embedding import Embedder
from assistant.retrieval import Retriever
from store.records import RunStatus
from trainer.candidate import build_job
from trainer.training import distributed
from trainer.training.environment import autocast
from trainer.training.lora import load_with_lora, mean_loss, to_tensors

ROOT = Path(__file__).parent.parent


def test_without_a_launcher_there_is_one_process() -> None:
    value = object()
    assert distributed.rank() == 0 and distributed.world() == 1 and distributed.broadcast(value) is value
    distributed.shut_down()
    assert not torch.distributed.is_initialized()


def test_two_processes_take_different_rows_and_one_of_them_publishes(scene: Scene) -> None:
    """Both ranks see the epochs and the early end; rank 0 alone has the run."""
    scene.rate(60, given="grey")
    texts = {
        name: value[0] if isinstance(value, list) else value
        for name, value in SETTINGS.as_record().items()
        if value != type(SETTINGS)().as_record()[name]
    }
    texts |= {"epochs": 2, "embedding_noise": 0}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "trainer", "once", "--data-dir", str(scene.context.data_dir)]
    command += [word for name, value in texts.items() for word in ("--set", f"{name}={value}")]
    launched = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    launched |= {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    ranks = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **launched, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    said = [rank.communicate(timeout=500)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    (run,) = scene.store.runs.all("bank")
    assert run.status is RunStatus.PROMOTED, run.message
    training = run.report["training"]
    assert run.report["environment"]["processes"] == 2
    assert training["dev_loss"] < training["first_dev_loss"]
    assert [adapter.name for adapter in scene.store.adapters.all("bank")] == ["bank-v0001"]

    settings = replace(SETTINGS, epochs=2, embedding_noise=0.0)
    w = replace(scene.context, settings=settings, retriever=Retriever(scene.store, Embedder()))
    job = build_job(w, scene.store.datasets.get(run.dataset_id or 0), w.work_dir("test"))
    assert training["steps"] == -(-len(job.rows) // 2), "two rows a step"
    fresh = load_with_lora(job.model_dir, SETTINGS.rank).eval()
    with torch.no_grad(), autocast():  # a fresh adapter changes nothing, so the first step's loss is known
        both = [float(mean_loss(fresh, to_tensors(row))) for row in job.rows[:2]]
    (first,) = [e.data["loss"] for e in scene.store.runs.events(run.id, "train") if e.data.get("step") == 1]
    assert first == pytest.approx(sum(both) / 2, rel=1e-4) and abs(both[0] - both[1]) > 1e-3
