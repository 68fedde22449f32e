"""Nothing that people typed is in what a process prints when something goes wrong, only where it went wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SECRET = "my card is 4111"
SCRIPT = f"""
import asyncio, json, logging, os, sys, threading
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
for case, act in CASES.items():
    if not os.fork():
        os.dup2(os.open(f"{{sys.argv[1]}}/{{case}}", os.O_WRONLY | os.O_CREAT), 1)
        os.dup2(1, 2)
        tracebacks.run(act)
        sys.exit()
    print(case, os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""
GOES_ON = {"logged", "thread", "unraisable", "task"}
CASES = {"value", "encoding", "decoding", "key", "json", "assertion", "nested", "group"} | GOES_ON


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """The exit status and the output of each case, in a process of its own; what they import is imported once."""
    folder = tmp_path_factory.mktemp("cases")
    script = folder / "fails.py"
    script.write_text(SCRIPT)
    command, environment = [sys.executable, str(script), str(folder)], {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    statuses = dict(line.split() for line in done.stdout.splitlines())
    return {case: (int(status), (folder / case).read_text()) for case, status in statuses.items()}


@pytest.mark.parametrize("case", sorted(CASES))
def test_an_error_says_where_and_never_what(ends: dict[str, tuple[int, str]], case: str) -> None:
    status, said = ends[case]
    assert status == (case not in GOES_ON)
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
