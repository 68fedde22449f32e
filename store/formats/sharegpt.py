"""ShareGPT rows, {"conversations": [{"from": "human", "value": ...}, ...]} ⇄ conversations.

In: rows, whole conversations. Out: conversations with what to learn from, and one row for each approved answer. Pure.
Earlier answers of a row that is written have "weight": 0; trainers that do not know it would learn them too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from store.carried import CarriedConversation, CarriedTurn, WholeConversation
from store.errors import BadRow
from store.formats.answers import approved
from store.formats.chat_messages import SYSTEM_MESSAGE
from store.formats.format import Format
from store.records import Role

_ROLES = {
    "human": Role.USER,
    "user": Role.USER,
    "gpt": Role.ASSISTANT,
    "assistant": Role.ASSISTANT,
    "chatgpt": Role.ASSISTANT,
    "model": Role.ASSISTANT,
}


class _Turn(msgspec.Struct):
    """Some files say role and content in the same place."""

    speaker: str | None = msgspec.field(default=None, name="from")
    value: str | None = None
    role: str | None = None
    content: str | None = None
    weight: float | None = None


class _Row(msgspec.Struct):
    conversations: list[_Turn]
    system: str | None = None


_decode = msgspec.json.Decoder(_Row).decode


def _recognises(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("conversations"), list)


def _read(data: bytes) -> CarriedConversation:
    row = _decode(data)
    turns, without = [], SYSTEM_MESSAGE if row.system else ""
    for number, turn in enumerate(row.conversations, start=1):
        speaker = turn.speaker or turn.role
        text = turn.value if turn.value is not None else turn.content
        if speaker == "system":
            without = SYSTEM_MESSAGE
        elif speaker not in _ROLES:
            raise BadRow(f"turn {number} is from {speaker!r}. Only system, human and gpt can be taken in.")
        elif text is None:
            raise BadRow(f"turn {number} has no 'value'.")
        else:
            turns.append(CarriedTurn(_ROLES[speaker], text, counts=turn.weight != 0))
    return CarriedConversation(tuple(turns), without=without)


def _write(whole: WholeConversation) -> Iterator[object]:
    for answer, text in approved(whole):
        turns: list[dict[str, str | int]] = []
        for message in answer.context:
            if message.role is Role.USER:
                turns.append({"from": "human", "value": message.text})
            else:
                turns.append({"from": "gpt", "value": message.text, "weight": 0})
        yield {"conversations": [*turns, {"from": "gpt", "value": text}]}


SHAREGPT = Format(
    name="sharegpt",
    carries="each approved answer, with the turns before it",
    leaves="ratings, raters, reasons, comments, times, what an answer was before its correction, and all that is not "
    "approved",
    recognises=_recognises,
    read=_read,
    write=_write,
    is_list=True,
)
