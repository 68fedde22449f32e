"""Something done once for each of its calls to the system, one of which fails or ends the process.

A case prepares a directory, does something in a copy of it (raising one of its `refusals` where it cannot), and says
what is wrong afterwards, after a second try where it was not done.
"""

import ctypes
import errno
import json
import os
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

FAULTS = {"no space": errno.ENOSPC, "I/O error": errno.EIO, "kill -9": 0}
_REFUSED, _FAULTY = 3, 4
_ENDS = {0: "done", _REFUSED: "refused", -signal.SIGKILL: "killed"}


class Publish:
    """Of an adapter of the tiny model."""

    def __init__(self, model_dir: Path):
        from assistant.adapter_files import BadAdapter, verify
        from trainer.training.lora import load_with_lora
        from trainer.training.publish import publish

        self.refusals = (OSError, BadAdapter)
        self._model = load_with_lora(model_dir, 4)
        # peft's card is thrown away, and takes three quarters of the time.
        self._model.create_or_update_model_card = lambda directory: None
        self._publish, self._verify = publish, verify

    def prepare(self, directory: Path) -> None:
        pass

    def do(self, directory: Path) -> None:
        self._publish(self._model, directory, "bank-v0001", "base")

    def wrong(self, directory: Path, end: str) -> str:
        try:
            if not (directory / "bank-v0001").exists():
                if end == "done":
                    return "published, and not there"
                self.do(directory)  # what is left behind is no obstacle, and goes
                if (left := os.listdir(directory)) != ["bank-v0001"]:
                    return f"left behind: {left}"
            self._verify(directory / "bank-v0001", "base", 16)
        except self.refusals as trouble:
            return str(trouble)
        return ""


class Rate:
    """One more rating, with a correction of several pages of the file."""

    def __init__(self) -> None:
        from store import Store, StoreError
        from store.records import Role, Verdict

        self.refusals = (StoreError,)
        self._store, self._role, self._verdict = Store, Role, Verdict

    def prepare(self, directory: Path) -> None:
        with self._store(directory / "shorthand.sqlite") as store:
            store.assistants.create("bank", "Bank", "exact")
            question = store.conversations.start("bank", "Hi")
            store.messages.add(
                question.conversation_id, question.id, self._role.ASSISTANT, "Hello.", id="answer"
            )
            store.ratings.add("answer", "ann", self._verdict.DOWN)

    def do(self, directory: Path) -> None:
        with self._store(directory / "shorthand.sqlite", busy_timeout_s=0.1) as store:
            store.ratings.add("answer", "ann", self._verdict.DOWN, correction=20_000 * "x")

    def wrong(self, directory: Path, end: str) -> str:
        with self._store(directory / "shorthand.sqlite") as store:
            found = len(store.ratings.all("answer"))
            if complaints := store.maintenance.check():
                return str(complaints)
            if end == "killed" and found in (1, 2):
                return ""  # nobody was told either way
            if found != (2 if end == "done" else 1):
                return f"{end}, and there are {found} ratings"
        if end == "refused":
            self.do(directory)
        return ""


FaultCase = Publish | Rate


def do_under(calls: Any, case: FaultCase, directory: Path, number: int, error: int) -> tuple[str, int]:
    """In a process of its own: how it ended, and how many calls there were until then."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        status = 0
        calls.failing_calls_arm(str(directory).encode(), number, error)
        try:
            case.do(directory)
        except case.refusals:
            status = _REFUSED
        except BaseException as fault:
            print(f"call {number}: {type(fault).__name__}: {fault}", file=sys.stderr)
            status = _FAULTY
        seen = calls.failing_calls_seen()
        calls.failing_calls_arm(b"", 0, 0)
        os.write(writable, str(seen).encode())
        os._exit(status)
    os.close(writable)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seen = int(os.read(readable, 20) or 0)
    os.close(readable)
    return _ENDS.get(status, "fault"), seen


def main(case: FaultCase, folder: Path) -> None:
    calls = ctypes.CDLL(None)
    before = folder / "before"
    before.mkdir()
    case.prepare(before)
    found = {}
    for name, error in FAULTS.items():
        untroubled = folder / f"{error}"
        shutil.copytree(before, untroubled)
        end, total = do_under(calls, case, untroubled, 0, error)
        assert end == "done"
        ends: Counter[str] = Counter()
        wrong = []
        for number in range(1, total + 1):
            directory = folder / f"{error}-{number}"
            shutil.copytree(before, directory)
            end, _ = do_under(calls, case, directory, number, error)
            ends[end] += 1
            if trouble := case.wrong(directory, end):
                wrong.append(f"call {number}: {trouble}")
        found[name] = {"calls": total, "wrong": wrong, **ends}
    print(json.dumps(found))


if __name__ == "__main__":
    what, *paths = sys.argv[1:]
    main(Publish(Path(paths[0])) if what == "publish" else Rate(), Path(paths[-1]))
