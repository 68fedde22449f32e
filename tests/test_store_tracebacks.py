"""Nothing that people typed is in what a process prints when something goes wrong, only where it went wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SECRET = "my card is 4111"
SCRIPT = f"""
import asyncio, json, logging, sys, threading
from store import tracebacks
text = "{SECRET} \\ud800"

class Bad:
    def __del__(self):
        raise ValueError(text)

def nested():
    try:
        raise KeyError(text)
    except KeyError as error:
        raise RuntimeError(text) from error

def logged():
    try:
        nested()
    except RuntimeError:
        logging.getLogger("any").exception("It failed.")

def in_thread():
    thread = threading.Thread(target=nested)
    thread.start()
    thread.join()

async def forgotten():
    await asyncio.wait([asyncio.ensure_future(asyncio.to_thread(nested))])

def grouped():
    raise ExceptionGroup(text, [ValueError(text), KeyError(text)])

CASES = dict(
    value=lambda: int(text), encoding=lambda: text.encode(), key=lambda: {{}}[text], json=lambda: json.loads(text),
    decoding=lambda: text.encode("utf-16", "surrogatepass").decode("ascii"),
    assertion=lambda: exec("assert False, text"),
    nested=nested, group=grouped, logged=logged, thread=in_thread, unraisable=lambda: Bad() and None,
    task=lambda: asyncio.run(forgotten()),
)
tracebacks.run(CASES[sys.argv[1]])
"""
GOES_ON = {"logged", "thread", "unraisable", "task"}
CASES = {"value", "encoding", "decoding", "key", "json", "assertion", "nested", "group"} | GOES_ON


@pytest.mark.parametrize("case", sorted(CASES))
def test_an_error_says_where_and_never_what(tmp_path: Path, case: str) -> None:
    script = tmp_path / "fails.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), case], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    said = done.stdout + done.stderr
    assert done.returncode == (case not in GOES_ON)
    assert "Error" in said and "fails.py" in said
    assert "4111" not in said and "udd800" not in said


def test_a_file_that_cannot_be_used_is_named_in_a_sentence(tmp_path: Path) -> None:
    words = "import sys; from store.tracebacks import run; run(lambda: open(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", words, str(tmp_path)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.stderr == f"{tmp_path} cannot be used: Is a directory. Make it readable and writable.\n"
