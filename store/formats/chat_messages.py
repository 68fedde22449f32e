"""Messages with role and content, as chat servers and trainers write them ⇄ turns.

In: messages of one row. Out: turns and what of the row is left behind; or BadRow. Pure. Shared by the formats of
OpenAI and TRL. Does not know the rows around the messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from store.carried import CarriedTurn
from store.errors import BadRow
from store.records import Message, Role

_ROLES = {"user": Role.USER, "assistant": Role.ASSISTANT}  # a tenth of the time that Role(...) takes
_INSTRUCTIONS = ("system", "developer")
SYSTEM_MESSAGE = "a system message: an assistant's prompt is written on the page"


class ChatMessage(msgspec.Struct):
    """One message of a row; content may come in parts, of which only text can be taken in."""

    role: str
    content: str | list[dict[str, Any]] | None = None
    weight: float | None = None


def read_messages(messages: Iterable[ChatMessage]) -> tuple[tuple[CarriedTurn, ...], str]:
    """Turns, and what was left out; a message of weight 0 is there as context only."""
    turns, without = [], ""
    for number, message in enumerate(messages, start=1):
        if role := _ROLES.get(message.role):
            text = _text(message.content, number)
            turns.append(CarriedTurn(role, text, counts=message.weight != 0))
        elif message.role in _INSTRUCTIONS:
            without = SYSTEM_MESSAGE
        else:
            raise BadRow(
                f"message {number} has the role {message.role!r}. Only system, user and assistant can be taken in."
            )
    return tuple(turns), without


def read_text_or_messages(value: str | list[ChatMessage], role: Role) -> tuple[tuple[CarriedTurn, ...], str]:
    """A plain text is one message of the role."""
    return ((CarriedTurn(role, value),), "") if isinstance(value, str) else read_messages(value)


def as_context(turns: Sequence[CarriedTurn]) -> tuple[CarriedTurn, ...]:
    """The same turns, of which none is to be learned."""
    return tuple(replace(turn, counts=False) for turn in turns)


def write_messages(messages: Iterable[Message]) -> list[dict[str, str]]:
    """Role and content alone."""
    return [{"role": message.role, "content": message.text} for message in messages]


def _text(content: str | list[dict[str, Any]] | None, number: int) -> str:
    if isinstance(content, str):
        return content
    if content is None:
        raise BadRow(f"message {number} has no content. Tool calls cannot be taken in.")
    texts = [part.get("text") for part in content]
    for part, text in zip(content, texts, strict=True):
        if not isinstance(text, str):
            raise BadRow(
                f"message {number} has a part of type {part.get('type')!r}. Only text can be taken in."
            )
    return "".join(map(str, texts))
