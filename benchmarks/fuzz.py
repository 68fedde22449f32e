"""Hours of bytes that nobody would write, given to everything that reads other people's bytes.

atheris (libFuzzer) chooses the bytes by what code they reach. Each reader has a process of its own; an input that ends
it is kept under `fuzz-findings/`, and can be given again.

    pip install '.[fuzz]'
    python -m benchmarks.fuzz --seconds 240 --out benchmarks/results/fuzz.json
    python -m benchmarks.fuzz --again fuzz-findings/markdown/crash-0123 --only markdown
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.fuzz_targets import TARGETS, seeds
from benchmarks.record import fail, write_result
from benchmarks.screen import Screen

RESULT = Path("benchmarks/results/fuzz.json")
_FINDINGS = Path("fuzz-findings")
_DONE = re.compile(r"Done (\d+) (?:runs )?in (\d+)|stat::number_of_executed_units:\s*(\d+)")
_COVERED = re.compile(r"cov: (\d+)")
_LONGEST_S = 20  # for one input
_MEMORY_MIB = 4096


def main(
    seconds: Annotated[int, typer.Option(min=1, help="For each reader.")] = 240,
    only: Annotated[
        list[str] | None, typer.Option(help="This reader; may be repeated. Default: all.")
    ] = None,
    again: Annotated[
        Path | None, typer.Option(help="Give this input once more, to the reader of --only.")
    ] = None,
    seed: Annotated[int, typer.Option(min=1, help="Of the search.")] = 1,
    out: Annotated[Path, typer.Option(help="Where the result goes.")] = RESULT,
) -> None:
    """Search for inputs that a reader cannot bear: an hour for all 15 of them.

    Example: python -m benchmarks.fuzz --seconds 30 --only markdown --out /tmp/fuzz.json
    """
    if unknown := set(only or ()) - set(TARGETS):
        fail(f"There is no reader {sorted(unknown)[0]!r}. Choose from: {', '.join(TARGETS)}.")
    if again is not None:
        if only is None or len(only) != 1:
            fail(f"An input is given to one reader, not {len(only or ())}. Say which with one --only.")
        with tempfile.TemporaryDirectory() as folder:
            TARGETS[only[0]](Path(folder))(again.read_bytes())
        return
    if find_spec("atheris") is None:
        fail("atheris is not installed. It chooses the inputs: pip install '.[fuzz]'")
    screen = Screen()
    result: dict[str, Any] = {"seconds_each": seconds, "readers": {}}
    for name in only or TARGETS:
        row = result["readers"][name] = _search(name, seconds, seed)
        screen.say(
            f"{name}: {row['inputs']:,} inputs, {row['branches']:,} branches, {row['finding'] or 'nothing'}"
        )
    result["inputs"] = sum(row["inputs"] for row in result["readers"].values())
    result["findings"] = sum(row["finding"] is not None for row in result["readers"].values())
    write_result(out, "fuzz", seed, result)
    screen.say(f"{result['inputs']:,} inputs, {result['findings']} findings. Written to {out}.")
    if result["findings"]:
        raise typer.Exit(1)


def _search(name: str, seconds: int, seed: int) -> dict[str, Any]:
    findings = _FINDINGS / name
    with tempfile.TemporaryDirectory() as corpus:
        with tempfile.TemporaryDirectory() as folder:
            for number, data in enumerate(seeds(name, Path(folder))):
                (Path(corpus) / f"seed-{number}").write_bytes(data)
        findings.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        options = [
            f"-max_total_time={seconds}", f"-seed={seed}", f"-artifact_prefix={findings}/", "-print_final_stats=1",
            f"-timeout={_LONGEST_S}", f"-rss_limit_mb={_MEMORY_MIB}", "-max_len=4096",
        ]  # fmt: skip
        command = [sys.executable, "-m", "benchmarks.fuzz_one", name, *options, corpus]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        taken_s = time.monotonic() - started
    output = done.stdout + done.stderr
    counted = [int(found) for row in _DONE.findall(output) for found in (row[2] or row[0],) if found]
    covered = [int(found) for found in _COVERED.findall(output)]
    return {
        "inputs": max(counted, default=0),
        "branches": max(covered, default=0),
        "seconds": round(taken_s),
        "finding": _finding(output, findings) if done.returncode else None,
    }


def _finding(output: str, findings: Path) -> str:
    """The exception, and where its input is."""
    raised = re.findall(
        r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b.*$|^ALARM.*$|out-of-memory.*$", output, re.M
    )
    finding = max(findings.iterdir(), key=lambda path: path.stat().st_mtime, default=None)
    return f"{raised[-1] if raised else output[-300:]} ({finding})"


if __name__ == "__main__":
    typer.run(main)
