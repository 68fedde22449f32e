"""What the tests of the store share: answers in a store, threads at once, and its command."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from typer.testing import CliRunner

from store import Store
from store.__main__ import app
from store.records import Message, Role


def answered(
    store: Store,
    question: str = "q",
    answer: str = "a",
    owner: str = "local",
    source: str = "chat",
    at: float | None = None,
    **more: Any,
) -> Message:
    """The answer to a question in a conversation of its own with the assistant “bank”; `more` is about the answer."""
    talk = store.conversations.create("bank", owner=owner, source=source).id
    asked = store.messages.add(talk, None, Role.USER, question, created_at=at)
    return store.messages.add(talk, asked.id, Role.ASSISTANT, answer, created_at=at, **more)


def at_once(*calls: Callable[[], object]) -> None:
    """Do each in a thread of its own, and wait for all."""
    with ThreadPoolExecutor(len(calls)) as threads:
        for done in [threads.submit(call) for call in calls]:
            done.result()


def run_store(*words: object, typed: str = "") -> tuple[int, str]:
    """The exit code and the output of `python -m store`."""
    done = CliRunner().invoke(app, [str(word) for word in words], input=typed, env={"COLUMNS": "200"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output
