"""The sample's frozen examples, trained to one dev loss: by the product, with TRL's SFTTrainer, in a plain loop.

The same adapter with the same start, the same token ids, batches of 8, the same learning rate. Loading and measuring
the dev loss do not count as time.
"""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.peer_rows.bench import Bench, Found, NotPossible, Turn
from benchmarks.peer_rows.installed import environment
from benchmarks.processes import ROOT

TARGET = 0.25  # nats per answer token; the base model has 1.7, the best epoch 0.08
_OURS = ("Shorthand", "Shorthand, no demonstrations", "plain padded loop")
_THEIRS = ("TRL SFTTrainer, defaults",)


def measure(bench: Bench) -> Found:
    ways = dict.fromkeys(_OURS, Path(sys.executable))
    with bench.unless_impossible("TRL"):
        ways |= dict.fromkeys(_THEIRS, environment(bench, ("trl==1.16.0",), on_ours=True))
    return bench.in_turn({way: partial(_trained, bench, python, way) for way, python in ways.items()})


def _trained(bench: Bench, python: Path, way: str) -> Turn:
    """In a process of its own, with torch's memory and threads for itself."""
    with TemporaryDirectory() as folder:
        words = [way, str(bench.model_dir()), folder, str(TARGET), str(bench.seed)]
        done = subprocess.run(
            [str(python), "-m", "benchmarks.peer_rows.training_run", *words],
            cwd=ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
    if done.returncode:
        raise NotPossible(f"{way} ended with status {done.returncode}.")
    turn: Turn = json.loads(done.stdout.splitlines()[-1])
    if turn["dev loss"] > TARGET:
        bench.remarks.append(f"{way} did not come to {TARGET} nats in {turn['epochs']:.1f} epochs.")
    return turn
