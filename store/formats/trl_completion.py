"""TRL prompt-completion rows, {"prompt": [...], "completion": [...]} ⇄ conversations.

In: rows in TRL's conversational or standard form, whole conversations. Out: conversations, and one row for each
approved answer. Pure. A `label`, as TRL's unpaired preference rows have it, is read as a rating.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from store.carried import CarriedConversation, CarriedRating, WholeConversation
from store.errors import BadRow
from store.formats.answers import approved
from store.formats.chat_messages import ChatMessage, as_context, read_text_or_messages, write_messages
from store.formats.format import Format
from store.records import Role, Verdict


class _Row(msgspec.Struct):
    prompt: str | list[ChatMessage]
    completion: str | list[ChatMessage]
    label: bool | None = None


_decode = msgspec.json.Decoder(_Row).decode


def _recognises(row: Mapping[str, Any]) -> bool:
    return "prompt" in row and "completion" in row


def _read(data: bytes) -> CarriedConversation:
    row = _decode(data)
    context, without = read_text_or_messages(row.prompt, Role.USER)
    completion, _ = read_text_or_messages(row.completion, Role.ASSISTANT)
    if not completion or completion[-1].role is not Role.ASSISTANT:
        raise BadRow("its completion does not end with an assistant's message.")
    if row.label is not None:
        rating = CarriedRating(Verdict.UP if row.label else Verdict.DOWN)
        completion = (*completion[:-1], replace(completion[-1], ratings=(rating,)))
    return CarriedConversation((*as_context(context), *completion), without=without)


def _write(whole: WholeConversation) -> Iterator[object]:
    for answer, text in approved(whole):
        completion = [{"role": Role.ASSISTANT, "content": text}]
        yield {"prompt": write_messages(answer.context), "completion": completion}


TRL_COMPLETION = Format(
    name="trl-completion",
    carries="each approved answer, with the turns before it",
    leaves="ratings, raters, reasons, comments, times, what an answer was before its correction, and all that is not "
    "approved",
    recognises=_recognises,
    read=_read,
    write=_write,
)
