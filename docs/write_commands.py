"""The help texts of all commands to `docs/commands.md`.

In: the typer apps. Out: the page; `tests/test_docs.py` fails when it is out of date.
Run: `python docs/write_commands.py`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
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


@cache
def page() -> str:
    """The whole page as Markdown."""
    parts = [
        "# Commands\n\nWritten by `python docs/write_commands.py` from the commands' own help texts. "
        "`make run` is `python app.py` after installing what is missing; `make run ARGS='--sample'` passes options.\n"
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each command is a process, and some load torch
        texts = list(pool.map(help_text, COMMANDS))
    for command, text in zip(COMMANDS, texts, strict=True):
        parts.append(f"## python {' '.join(command)}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def help_text(command: tuple[str, ...]) -> str:
    """What `--help` prints at a width of 100, without colours."""
    plain = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", "_TYPER_FORCE_DISABLE_TERMINAL": "1"}
    environment = {**os.environ, **plain}
    environment.pop("SHORTHAND_DATA_DIR", None)
    done = subprocess.run(
        [sys.executable, *command, "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=True,
    )
    return "\n".join(
        re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in done.stdout.strip("\n").splitlines()
    )


if __name__ == "__main__":
    (ROOT / "docs" / "commands.md").write_text(page(), encoding="utf-8")
