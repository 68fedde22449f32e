"""People, a trainer and a server that run at once, to be killed one by one: a fake server, or the real app."""

import multiprocessing
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

import psutil

from assistant.adapter_files import fingerprint
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_health import is_healthy
from benchmarks import random_adapters
from benchmarks.faults.ledger import Ledger
from benchmarks.faults.people import Where, chat_all_the_time, swap_all_the_time
from benchmarks.faults.scene import create_swapped_assistant
from benchmarks.processes import AppFailed, AppProcess, FakeServer

CHAT, TRAINER = "chat", "trainer"
_FORK = multiprocessing.get_context("fork")
_FIRST_WITHIN_S = 400.0


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
        self._started = 0
        self._ended_at = time.monotonic()
        self._children: dict[str, tuple[BaseProcess, Connection]] = {}
        tokenizer = ChatTokenizer.load(model_dir)
        self.where = Where(folder, tokenizer, fingerprint(model_dir), "")

    @abstractmethod
    def start_server(self) -> None: ...

    @abstractmethod
    def stop_server(self) -> None: ...

    @abstractmethod
    def server_processes(self) -> dict[str, int]:
        """The process ids of the servers, by name."""

    @abstractmethod
    def kill_server(self, victim: str) -> None:
        """Kill it, and start it again where nobody else does."""

    def __enter__(self) -> Self:
        self.where.adapters.mkdir(parents=True, exist_ok=True)
        with self.where.store() as store:
            create_swapped_assistant(store, self.where.tokenizer)
        self.start_server()
        for name in (CHAT, TRAINER):
            began = time.monotonic()
            self._fork(name)
            self.start_s[name] = self._until_at_work(name, _FIRST_WITHIN_S, began)
        self.victims += [CHAT, TRAINER]
        return self

    def __exit__(self, *error: object) -> None:
        for child, _ in self._children.values():
            child.kill()
        self.stop_server()

    def processes(self) -> dict[str, int]:
        """The process ids of everything that lives, by name."""
        alive = {name: child.pid or 0 for name, (child, _) in self._children.items() if child.is_alive()}
        return alive | self.server_processes()

    def died(self) -> list[str]:
        """The processes that ended without having been killed."""
        return [name for name, (child, _) in self._children.items() if not child.is_alive()]

    def pause(self, name: str) -> None:
        """End a process until `start_again`."""
        self._end(name)
        del self._children[name]

    def kill(self, victim: str) -> None:
        """kill -9, at once."""
        self._ended_at = time.monotonic()
        if victim in self._children:
            self._end(victim)
        else:
            self.kill_server(victim)
        self.receive()

    def start_again(self, victim: str, within_s: float) -> float:
        """Seconds from the kill until people were answered again, or the trainer had swapped; raises AppFailed.

        What was paused counts from now on.
        """
        if victim in (CHAT, TRAINER):
            if victim not in self._children:
                self._ended_at = time.monotonic()
            self._fork(victim)
        return self._until_at_work(victim, within_s, self._ended_at)

    def receive(self) -> None:
        """Take in what was acknowledged since."""
        for _, pipe in self._children.values():
            self.ledger.receive(pipe)

    def check(self, whole_file: bool) -> None:
        with self.where.store() as store:
            self.ledger.check(store, self.where.adapters, self.where.base, whole_file)

    def finish(self) -> None:
        """Everybody stops; the last check."""
        for name in self._children:
            self._end(name)
        self.check(whole_file=False)
        with self.where.store() as store:
            self.ledger.check_end(store)

    def _until_at_work(self, name: str, within_s: float, began: float) -> float:
        """Seconds since `began`, once the trainer has swapped; for everything else, once people are answered."""

        kind = "swap" if name == TRAINER else "answered"
        self.receive()
        before = self.ledger.acknowledged[kind]
        while self.ledger.acknowledged[kind] == before:
            if time.monotonic() - began > within_s:
                raise AppFailed(f"{name} did nothing within {within_s:.0f} s: {dict(self.ledger.failures)}")
            time.sleep(0.02)
            self.receive()
        return time.monotonic() - began

    def _fork(self, name: str) -> None:
        ours, theirs = _FORK.Pipe(duplex=False)
        self._started += 1
        seed = self.seed * 100_000 + self._started
        act = swap_all_the_time if name == TRAINER else partial(chat_all_the_time, people=self.people)
        pause_s = self.swap_pause_s if name == TRAINER else self.chat_pause_s
        child = _FORK.Process(target=act, args=(self.where, pause_s, seed, theirs), daemon=True)
        child.start()
        theirs.close()
        self._children[name] = (child, ours)

    def _end(self, name: str) -> None:
        child, _ = self._children[name]
        child.kill()
        child.join()
        self._ended_at = time.monotonic()
        self.receive()


class FakeWorld(World):
    """The server is the fake one of the tests, in a process of its own."""

    name = "vLLM (fake)"

    def start_server(self) -> None:
        self._server = FakeServer()
        self.where = replace(self.where, url=self._server.url)
        random_adapters.make_small(self.where.templates, 3, self.where.base)
        self.start_s[self.name] = self._server.start()
        self.victims.append(self.name)

    def stop_server(self) -> None:
        self._server.kill()

    def server_processes(self) -> dict[str, int]:
        return {self.name: self._server.pid}

    def kill_server(self, victim: str) -> None:
        self._server.kill()
        self._server.start()


class RealWorld(World):
    """`python app.py` with its own vLLM; people and swaps beside it, in processes of their own."""

    chat_pause_s = 1.0
    swap_pause_s = 5.0
    options: tuple[str, ...] = ("--no-trainer",)
    servers = ("API server", "EngineCore", "Worker")

    def start_server(self) -> None:
        random_adapters.make(self.model_dir, self.where.templates, 3, self.where.base)
        seconds = self._start_app()
        self.victims += ["app", *self.servers]
        self.start_s |= dict.fromkeys(self.victims, seconds)

    def __enter__(self) -> Self:
        super().__enter__()
        # People start with it, and are what is waited for after a kill.
        self.start_s["app"] += self.start_s[CHAT]
        return self

    def _start_app(self) -> float:
        began = time.monotonic()
        self.app = AppProcess(self.folder, "--model", str(self.model_dir), *self.options)
        self.app.wait_for_model(_FIRST_WITHIN_S)
        address = self.app.address()
        # The app itself sweeps, and loads what is active; people beside it only wait until the server is there.
        self.where = replace(self.where, url=address.urls[0], key=address.key, sweeps=False)
        return time.monotonic() - began

    def stop_server(self) -> None:
        self.app.stop()

    def server_processes(self) -> dict[str, int]:
        """By their own titles, `VLLM::EngineCore` and so on, or by the module."""
        if self.app.process.poll() is not None:
            return {}
        found = {"app": self.app.process.pid}
        for process in psutil.Process(self.app.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if line.startswith("VLLM::"):
                    found[line.split()[0].removeprefix("VLLM::")] = process.pid
                elif "assistant.supervisor" not in line:
                    modules = {"vllm.entrypoints": "API server", "trainer watch": "trainer watch"}
                    found |= {name: process.pid for module, name in modules.items() if module in line}
        return found

    def died(self) -> list[str]:
        return super().died() + (["app"] if self.app.process.poll() is not None else [])

    def kill_server(self, victim: str) -> None:
        if victim == "app":
            self.app.process.kill()
            self.app.process.wait()
            self._until_gone()
            self._start_app()
            for name in list(self._children):  # the address and the key are new ones
                ended_at = self._ended_at
                self._end(name)
                self._ended_at = ended_at
                self._fork(name)
        elif (pid := self.server_processes().get(victim)) is not None:
            psutil.Process(pid).kill()
            self._until_gone()  # the API server notices and ends, or is ended by the app

    def _until_gone(self) -> None:
        """Raises AppFailed where vLLM outlives what it belongs to by a minute."""
        end = time.monotonic() + 60.0
        while is_healthy(self.where.url):
            if time.monotonic() > end:
                raise AppFailed(f"vLLM at {self.where.url} still answers after a minute.")
            time.sleep(0.1)
