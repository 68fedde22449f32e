"""The help texts of all commands to `docs/commands.md`.

In: the typer apps. Out: the page; `tests/test_docs.py` fails when it is out of date.
Run: `python docs/write_commands.py`.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import runpy
import subprocess
import sys
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).parent.parent
_PRINT = "--print"
COMMANDS = (
    ("app.py",),
    ("-m", "trainer", "once"),
    ("-m", "trainer", "watch"),
    ("-m", "trainer", "report"),
    ("-m", "trainer", "runs"),
    ("-m", "trainer", "disagreements"),
    ("-m", "trainer", "why"),
    ("-m", "trainer", "datasets"),
    ("-m", "trainer", "rollback"),
    ("-m", "trainer", "erase"),
    ("-m", "trainer", "rerun"),
    ("-m", "trainer", "privacy", "show"),
    ("-m", "trainer", "privacy", "preview"),
    ("-m", "trainer", "privacy", "add"),
    ("-m", "trainer", "privacy", "keep"),
    ("-m", "trainer", "privacy", "remove"),
    ("-m", "store", "stats"),
    ("-m", "store", "check"),
    ("-m", "store", "backup"),
    ("-m", "store", "export"),
    ("-m", "store", "import"),
    ("-m", "store", "user", "add"),
    ("-m", "store", "user", "list"),
    ("-m", "store", "user", "role"),
    ("-m", "store", "user", "password"),
    ("-m", "store", "user", "remove"),
    ("-m", "store", "audit"),
    ("-m", "benchmarks.first_retrain"),
    ("-m", "benchmarks.loop"),
    ("-m", "benchmarks.report"),
    ("-m", "benchmarks.ablation"),
    ("-m", "benchmarks.ablation_report"),
    ("-m", "benchmarks.gate_simulation"),
    ("-m", "benchmarks.adapter_kernels"),
    ("-m", "benchmarks.privacy"),
    ("-m", "benchmarks.near_duplicates"),
    ("-m", "benchmarks.store_size"),
    ("-m", "benchmarks.store_kills"),
    ("-m", "benchmarks.swap_faults"),
    ("-m", "benchmarks.swaps"),
    ("-m", "benchmarks.mixed_batches"),
    ("-m", "benchmarks.two_trainers"),
    ("-m", "benchmarks.chaos"),
    ("-m", "benchmarks.soak"),
    ("-m", "benchmarks.chat_while_training"),
    ("-m", "benchmarks.vllm_on_cpu"),
    ("-m", "benchmarks.fuzz"),
    ("-m", "benchmarks.poisoning"),
    ("-m", "benchmarks.quarantine"),
)


# What commands import and takes longest: done once, in the process that the two or more at work are forked from.
# These take one command after the other, so that a package is imported once: 19 s instead of 50.
_SHARED = (
    "typer",
    "rich.console",
    "argon2",
    "sqlite_utils",
    "sacrebleu",
    "numpy",
    "scipy.stats",
    "transformers",
    "torch",
    "matplotlib",
)


@cache
def page() -> str:
    """The whole page as Markdown: help at a width of 100, without colours. Raises CalledProcessError."""
    plain = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", "_TYPER_FORCE_DISABLE_TERMINAL": "1"}
    environment = {**os.environ, **plain, "PYTHONPATH": str(ROOT)}
    environment.pop("SHORTHAND_DATA_DIR", None)
    done = subprocess.run(
        [sys.executable, __file__, _PRINT], stdout=subprocess.PIPE, text=True, env=environment, check=True
    )
    return done.stdout


def compose() -> str:
    """The same, in the environment that `page` sets: a process of its own, since it forks."""
    parts = [
        "# Commands\n\nWritten by `python docs/write_commands.py` from the commands' own help texts. "
        "`make run` is `python app.py` after installing what is missing; `make run ARGS='--sample'` passes options.\n"
    ]
    for name in _SHARED:
        import_module(name)
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        texts = pool.map(help_text, COMMANDS, chunksize=1)
    for command, text in zip(COMMANDS, texts, strict=True):
        parts.append(f"## python {' '.join(command)}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def help_text(command: tuple[str, ...]) -> str:
    """What `--help` prints; for a process that does nothing else. Raises RuntimeError where the command fails."""
    os.chdir(ROOT)
    script, words = (command[1], command[2:]) if command[0] == "-m" else (command[0], command[1:])
    sys.argv = [script, *words, "--help"]
    said = StringIO()
    try:
        with redirect_stdout(said):
            if command[0] == "-m":
                runpy.run_module(script, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(script, run_name="__main__")
    except SystemExit as done:
        if done.code:
            raise RuntimeError(f"python {' '.join(command)} --help ended with {done.code}.") from done
    return "\n".join(
        re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in said.getvalue().strip("\n").splitlines()
    )


if __name__ == "__main__":
    if sys.argv[1:] == [_PRINT]:
        sys.stdout.write(compose())
    else:
        (ROOT / "docs" / "commands.md").write_text(page(), encoding="utf-8")
