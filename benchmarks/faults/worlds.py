"""People, a trainer and a server that run at once, to be killed one by one: a fake server, or the real app."""

from __future__ import annotations

import multiprocessing
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from assistant.adapter_files import fingerprint
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_server import is_healthy
from benchmarks import random_adapters
from benchmarks.faults.ledger import Ledger
from benchmarks.faults.people import Where, chat_all_the_time
from benchmarks.faults.scene import ASSISTANT, PROMPT
from benchmarks.faults.swapper import swap_all_the_time
from benchmarks.footprint import server_processes
from benchmarks.processes import AppFailed, AppProcess, FakeServer
from store import Store

CHAT, TRAINER = "chat", "trainer"
_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Moment:
    """What was under way when somebody was killed."""

    step: str
    in_a_write: bool


class World(ABC):
    """`victims` can be killed; `start_s` is how long each took to start for the first time."""

    people = 4
    chat_pause_s = 0.05
    swap_pause_s = 0.1

    def __init__(self, folder: Path, model_dir: Path, seed: int):
        self.folder, self.model_dir, self.seed = folder, model_dir, seed
        self.ledger = Ledger()
        self.start_s: dict[str, float] = {}
        self.victims: list[str] = []
        self.answers = 0
        self._started = 0
        self._resting: set[str] = set()
        self._ended_at = time.monotonic()
        self._children: dict[str, tuple[BaseProcess, Connection]] = {}
        self.tokenizer = ChatTokenizer.load(model_dir)
        self.where: Where

    @abstractmethod
    def start_server(self) -> None: ...

    @abstractmethod
    def stop_server(self) -> None: ...

    @abstractmethod
    def server_processes(self) -> dict[str, int]:
        """The process ids of what serves, by name."""

    @abstractmethod
    def kill_server(self, victim: str) -> None:
        """Kill it, and start it again where nobody else does."""

    def prepare(self) -> None:
        """The data directory, an assistant and the adapters, before anybody is forked."""
        from assistant.assistants import create_assistant

        self.where.adapters.mkdir(parents=True, exist_ok=True)
        with self.where.store() as store:
            if ASSISTANT not in {assistant.id for assistant in store.assistants()}:
                create_assistant(store, self.tokenizer, "Swapped", "exact", PROMPT, assistant_id=ASSISTANT)

    def __enter__(self) -> Self:
        self.start_server()
        for name in (CHAT, TRAINER):
            self.start_s[name] = self._timed(name, 400.0)
        self.victims += [CHAT, TRAINER]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child, _ in self._children.values():
            child.kill()
        self.stop_server()

    def processes(self) -> dict[str, int]:
        """Everybody who lives, by name."""
        alive = {name: child.pid for name, (child, _) in self._children.items() if child.is_alive()}
        return {name: pid for name, pid in alive.items() if pid is not None} | self.server_processes()

    def died(self) -> list[str]:
        """Who ended without having been killed."""
        ended = [name for name, (child, _) in self._children.items() if not child.is_alive()]
        return [name for name in ended if name not in self._resting]

    def rest(self, name: str) -> None:
        """It ends and is not missed until `start_again`."""
        self._children[name][0].kill()
        self._children[name][0].join()
        self.hear()
        self._resting.add(name)
        self._ended_at = time.monotonic()

    def kill(self, victim: str) -> Moment:
        """kill -9, at once."""
        journal = self.folder / "shorthand.sqlite-journal"
        child = self._children.get(victim)
        self._ended_at = time.monotonic()
        if child is not None:
            child[0].kill()
            child[0].join()
        else:
            self.kill_server(victim)
        in_a_write = journal.exists() and journal.stat().st_size > 0
        self.hear()
        return Moment(self.ledger.step, in_a_write)

    def start_again(self, victim: str, within_s: float) -> float:
        """Seconds from the kill until people were answered again, or the trainer had swapped; raises AppFailed.

        Who rested was not killed: from now on.
        """
        if victim in self._resting:
            self._ended_at = time.monotonic()
        if victim in (CHAT, TRAINER):
            self._fork(victim)
        if victim == TRAINER:
            return self._until(lambda: self.ledger.acknowledged["swap"], "a swap", within_s, self._ended_at)
        return self._until_answered(within_s, self._ended_at)

    def hear(self) -> int:
        """Take in what was acknowledged; returns how many answers people got meanwhile."""
        answers = sum(self.ledger.hear(ear) for _, ear in self._children.values())
        self.answers += answers
        return answers

    def look(self, check: bool) -> None:
        with self._store() as store:
            self.ledger.look(store, self.where.adapters, self.where.base, check)

    def settle(self) -> None:
        """Everybody stops; the last look."""
        for child, _ in self._children.values():
            child.kill()
            child.join()
        self.hear()
        with self._store() as store:
            self.ledger.look(store, self.where.adapters, self.where.base, check=False)
            self.ledger.settle(store)

    def _store(self) -> Store:
        return self.where.store()

    def _timed(self, name: str, within_s: float) -> float:
        began = time.monotonic()
        self._fork(name)
        if name == CHAT:
            return self._until_answered(within_s, began)
        return self._until(lambda: self.ledger.acknowledged["swap"], "a swap", within_s, began)

    def _until_answered(self, within_s: float, began: float) -> float:
        return self._until(lambda: self.answers, "an answer", within_s, began)

    def _until(self, count: Callable[[], int], what: str, within_s: float, began: float) -> float:
        self.hear()
        before = count()
        while count() == before:
            if time.monotonic() - began > within_s:
                raise AppFailed(f"There was not {what} within {within_s:.0f} s: {dict(self.ledger.said_why)}")
            time.sleep(0.02)
            self.hear()
        return time.monotonic() - began

    def _fork(self, name: str) -> None:
        ours, theirs = _FORK.Pipe(duplex=False)
        self._resting.discard(name)
        self._started += 1
        seed = self.seed * 100_000 + self._started
        arguments: tuple[Any, ...] = (self.where, self.people, self.chat_pause_s, seed, theirs)
        target: Callable[..., None] = chat_all_the_time
        if name == TRAINER:
            weights = random_adapters.names(3)
            arguments = (self.where, self.folder / "templates", weights, self.swap_pause_s, seed, theirs)
            target = swap_all_the_time
        child = _FORK.Process(target=target, args=arguments, daemon=True)
        child.start()
        theirs.close()
        self._children[name] = (child, ours)


class FakeWorld(World):
    """The server is the fake one of the tests, in a process of its own."""

    def start_server(self) -> None:
        self._server = FakeServer()
        base = fingerprint(self.model_dir)
        self.where = Where(self.folder, self.tokenizer, base, self._server.url)
        random_adapters.make_small(self.folder / "templates", 3, base)
        self.prepare()
        self.start_s["vLLM (fake)"] = self._server.start()
        self.victims.append("vLLM (fake)")

    def stop_server(self) -> None:
        self._server.kill()

    def server_processes(self) -> dict[str, int]:
        return {"vLLM (fake)": self._server.pid}

    def kill_server(self, victim: str) -> None:
        self._server.kill()
        self._server.start()


class RealWorld(World):
    """`python app.py` with its own vLLM; people and swaps beside it, in processes of their own."""

    people = 4
    chat_pause_s = 1.0
    swap_pause_s = 5.0
    options: tuple[str, ...] = ("--no-trainer",)
    servers = ("API server", "EngineCore", "Worker")

    def start_server(self) -> None:
        base = fingerprint(self.model_dir)
        self.where = Where(self.folder, self.tokenizer, base, "")
        self.prepare()
        random_adapters.make(self.model_dir, self.folder / "templates", 3, base)
        self.start_s["app"] = self._start_app()
        for name in self.servers:
            self.start_s[name] = self.start_s["app"]
        self.victims += ["app", *self.servers]

    def __enter__(self) -> Self:
        super().__enter__()
        # People start with it, and are what is waited for after a kill.
        self.start_s["app"] += self.start_s[CHAT]
        return self

    def _start_app(self) -> float:
        began = time.monotonic()
        self.app = AppProcess(self.folder, "--model", str(self.model_dir), *self.options)
        self.app.wait_for_model(400.0)
        address = self.app.address()
        # The app itself sweeps, and loads what is active; people beside it only wait until the server is there.
        self.where = Where(
            self.folder, self.tokenizer, self.where.base, address.urls[0], address.key, sweeps=False
        )
        return time.monotonic() - began

    def stop_server(self) -> None:
        self.app.stop()

    def server_processes(self) -> dict[str, int]:
        if self.app.process.poll() is not None:
            return {}
        return {"app": self.app.process.pid, **server_processes(self.app.process.pid)}

    def died(self) -> list[str]:
        return super().died() + (["app"] if self.app.process.poll() is not None else [])

    def kill_server(self, victim: str) -> None:
        if victim != "app":
            pid = server_processes(self.app.process.pid).get(victim)
            if pid is not None:
                psutil.Process(pid).kill()
                while is_healthy(
                    self.where.url
                ):  # the API server notices and ends, or is ended by the app's leash
                    time.sleep(0.1)
            return
        self.app.process.kill()
        self.app.process.wait()
        self._until_port_is_free()
        self._start_app()
        for name in {CHAT, TRAINER} - self._resting:  # the address and the key are new ones
            child = self._children[name][0]
            child.kill()
            child.join()
            self.hear()
            self._fork(name)

    def _until_port_is_free(self) -> None:
        """The leash ends vLLM within some seconds of the app's death."""
        end = time.monotonic() + 60.0
        while is_healthy(self.where.url):
            if time.monotonic() > end:
                raise AppFailed(f"vLLM at {self.where.url} outlived its app by a minute.")
            time.sleep(0.1)
