"""Answers in a store, for the tests of what is done with them."""

from __future__ import annotations

from typing import Any

from store import Store
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
