"""TRL preference rows, {"prompt": [...], "chosen": [...], "rejected": [...]} ⇄ corrected answers.

In: rows with an explicit or implicit prompt, whole conversations. Out: answers with a correction, and one row for each
of those. Pure. What was chosen is the correction, what was rejected is the answer as given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from store.carried import CarriedConversation, CarriedRating, CarriedTurn, WholeConversation
from store.errors import BadRow
from store.formats.answers import answers
from store.formats.chat_messages import ChatMessage, as_context, read_text_or_messages, write_messages
from store.formats.format import Format
from store.records import Role


class _Row(msgspec.Struct):
    chosen: str | list[ChatMessage]
    rejected: str | list[ChatMessage]
    prompt: str | list[ChatMessage] | None = None


_decode = msgspec.json.Decoder(_Row).decode


def _recognises(row: Mapping[str, Any]) -> bool:
    return "chosen" in row and "rejected" in row


def _read(data: bytes) -> CarriedConversation:
    row = _decode(data)
    chosen, without = read_text_or_messages(row.chosen, Role.ASSISTANT)
    rejected, _ = read_text_or_messages(row.rejected, Role.ASSISTANT)
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        if not turns or turns[-1].role is not Role.ASSISTANT:
            raise BadRow(f"its {name!r} does not end with an assistant's message.")
    if chosen[:-1] != rejected[:-1]:
        raise BadRow("its 'chosen' and 'rejected' differ before the last message.")
    context: tuple[CarriedTurn, ...] = ()
    if row.prompt is not None:
        context, left = read_text_or_messages(row.prompt, Role.USER)
        without = without or left
    repeated = context == chosen[: len(context)]  # many files repeat the prompt in both lists
    context = chosen[:-1] if repeated else (*context, *chosen[:-1])
    rating = CarriedRating(None, correction=chosen[-1].text)
    answer = replace(rejected[-1], ratings=(rating,))
    return CarriedConversation((*as_context(context), answer), without=without)


def _write(whole: WholeConversation) -> Iterator[object]:
    for answer in answers(whole):
        chosen, rejected = answer.correction, answer.message.text
        if chosen is not None and chosen.strip() and chosen != rejected:
            yield {
                "prompt": write_messages(answer.context),
                "chosen": [{"role": Role.ASSISTANT, "content": chosen}],
                "rejected": [{"role": Role.ASSISTANT, "content": rejected}],
            }


TRL_PREFERENCE = Format(
    name="trl-preference",
    carries="each corrected answer: the correction is chosen, the answer as given is rejected",
    leaves="answers without a correction, ratings, raters, reasons, comments and times",
    recognises=_recognises,
    read=_read,
    write=_write,
)
