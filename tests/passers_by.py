"""People who chat and rate beside a test of the whole app: a short form of `benchmarks.soak`."""

import multiprocessing
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self

from assistant.adapter_files import fingerprint
from assistant.serving import ServerAddress
from assistant.tokenizer import ChatTokenizer
from benchmarks.faults.ledger import Ledger
from benchmarks.faults.people import Where, chat_all_the_time
from benchmarks.faults.scene import create_swapped_assistant
from benchmarks.processes import AppProcess
from store import Store

PEOPLE = 2
PAUSE_S = 25.0  # each, on average, between two questions: people read the answers
RECEIVE_EVERY_S = 2.0
_SPAWN = multiprocessing.get_context("spawn")  # a fork would take a browser's threads and locks along


def _chat(data_dir: Path, address: ServerAddress, base: str, events: Connection) -> None:
    tokenizer = ChatTokenizer.load(Path(address.model_dir))
    where = Where(data_dir, tokenizer, base, address.urls[0], address.key, sweeps=False)
    chat_all_the_time(where, PAUSE_S, 1, events, PEOPLE)


class PassersBy:
    """They begin with the context, under an assistant of their own, and stop with it."""

    def __init__(self, app: AppProcess, store: Store):
        self._app, self._store = app, store
        self.ledger = Ledger()
        self._over = threading.Event()
        self._pipe, events = _SPAWN.Pipe(duplex=False)
        address = app.address()
        self._base = fingerprint(Path(address.model_dir))
        tokenizer = ChatTokenizer.load(Path(address.model_dir))
        create_swapped_assistant(store, tokenizer)
        arguments = (app.data_dir, address, self._base, events)
        self._people = _SPAWN.Process(target=_chat, args=arguments, daemon=True)
        self._listener = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._people.start()
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """They go; what they were told is looked up."""
        self._over.set()
        self._people.kill()
        self._people.join()
        self._listener.join()
        self.ledger.check(self._store, self._app.data_dir / "adapters", self._base, whole_file=False)

    def _listen(self) -> None:
        while not self._over.wait(RECEIVE_EVERY_S):
            self.ledger.receive(self._pipe)
        self.ledger.receive(self._pipe)
