"""Peers from package indexes, in virtual environments of their own below the scratch directory; installed once."""

import json
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peer_rows.bench import Bench, NotPossible


def environment(bench: Bench, packages: Sequence[str], *, on_ours: bool = False) -> Path:
    """The Python of an environment with these packages. Raises NotPossible.

    `on_ours` lets it see our packages as well: the peer runs on the same torch, and only what is missing is installed.
    """
    folder = bench.scratch / packages[0].partition("=")[0]
    python, stamp = folder / "bin" / "python", folder / "installed"
    if not stamp.exists() or stamp.read_text() != " ".join(packages):
        bench.say(f"Installing {', '.join(packages)} in {folder} ...")
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        if on_ours:
            ours, theirs = (sysconfig.get_path("purelib", vars=v) for v in ({}, {"base": str(folder)}))
            (Path(theirs) / "ours.pth").write_text(f"{ours}\n")
        _run([str(python), "-m", "pip", "install", "-q", *packages])
        stamp.write_text(" ".join(packages))
    names = [package.partition("=")[0] for package in packages]
    say = f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {names}}}))"
    bench.versions |= json.loads(_run([str(python), "-c", say]))
    return python


def _run(command: list[str]) -> str:
    """What it prints."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise NotPossible(f"{command[0]} cannot be run: {error}.") from error
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise NotPossible(f"{' '.join(command[:4])} ... ended with status {done.returncode}: {last}")
    return done.stdout
