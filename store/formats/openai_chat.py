"""OpenAI chat rows, {"messages": [...]} ⇄ conversations.

In: rows, whole conversations. Out: conversations with what to learn from, and one row for each approved answer. Pure.
Earlier answers of a row that is written have weight 0, OpenAI's sign for “context, not to be learned”.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from store.carried import CarriedConversation, WholeConversation
from store.formats.answers import approved
from store.formats.chat_messages import ChatMessage, read_messages
from store.formats.format import Format
from store.records import Role


class _Row(msgspec.Struct):
    messages: list[ChatMessage]


_decode = msgspec.json.Decoder(_Row).decode


def _recognises(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("messages"), list) and "shorthand" not in row and "head" not in row


def _read(data: bytes) -> CarriedConversation:
    turns, without = read_messages(_decode(data).messages)
    return CarriedConversation(turns, without=without)


def _write(whole: WholeConversation) -> Iterator[object]:
    for answer, text in approved(whole):
        messages: list[dict[str, str | int]] = []
        for message in answer.context:
            weight = {"weight": 0} if message.role is Role.ASSISTANT else {}
            messages.append({"role": message.role, "content": message.text, **weight})
        yield {"messages": [*messages, {"role": Role.ASSISTANT, "content": text}]}


OPENAI = Format(
    name="openai",
    carries="each approved answer, with the turns before it",
    leaves="ratings, raters, reasons, comments, times, what an answer was before its correction, and all that is not "
    "approved",
    recognises=_recognises,
    read=_read,
    write=_write,
)
