"""Shorthand's own rows: a conversation each, with nothing lost but what each answer was served with.

The first row is the assistant with its prompts, for people to read. Files may have been edited, so that a conversation
which contradicts itself raises BadRow.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from store.errors import BadRow
from store.io.meaning import Meaning
from store.io.records import FullConversation
from store.io.values import DAY_S
from store.records import Assistant, MessageStatus, Prompt, Role

_VERSION = 1


def matches(row: Mapping[str, Any]) -> bool:
    return "shorthand" in row or ("conversation" in row and "messages" in row)


def first_row(assistant: Assistant, prompts: Sequence[Prompt]) -> object:
    return {"shorthand": _VERSION, "assistant": {**vars(assistant), "prompts": prompts}}


def read(row: Mapping[str, Any], meaning: Meaning) -> list[FullConversation]:
    """Nothing for the first row. Whose conversation it becomes is the importer's to say."""
    if (version := row.get("shorthand")) is not None:
        if version != _VERSION:
            raise BadRow(f"it was written by a newer Shorthand (version {version!r}). Upgrade Shorthand.")
        return []
    found = msgspec.convert(row, FullConversation)
    _check_places(found)
    _check_times(found, meaning.latest)
    return [found]


def _check_places(full: FullConversation) -> None:
    roles: dict[str | None, Role] = {}
    for message in full.messages:
        id, above = message.parent_id, roles.get(message.parent_id)
        if message.conversation_id != full.conversation.id:
            raise BadRow(f"message {message.id!r} is of conversation {message.conversation_id!r}.")
        if id is not None and above is None:
            raise BadRow(f"message {message.id!r} follows {id!r}, which does not come before it.")
        if message.role is Role.ASSISTANT and above is not Role.USER:
            raise BadRow(f"message {message.id!r} is an answer that follows no user's message.")
        roles[message.id] = message.role
    if full.conversation.head_id not in (roles or {None}):
        raise BadRow(f"it shows message {full.conversation.head_id!r}, which is not in it.")
    for id in (one.message_id for one in full.about_answers):
        if roles.get(id) is not Role.ASSISTANT:
            raise BadRow(f"a rating or decision is about {id!r}, which is no answer in it.")


def _check_times(full: FullConversation, latest: float) -> None:
    """What lies in the future would outrank all that people say later."""
    records = (full.conversation, *full.messages, *full.about_answers)
    for at in (full.conversation.updated_at, *(one.created_at for one in records)):
        if not 0 <= at <= latest + DAY_S:
            raise BadRow(f"it has the time {at}, which is none or in the future. Write seconds since 1970.")


def write(conversation: FullConversation) -> Iterator[FullConversation]:
    # A file does not go on being written to: what was being generated is as if it had been cut off there.
    statuses = {MessageStatus.STREAMING: MessageStatus.FAILED}
    messages = tuple(
        replace(one, deployment_id=None, status=statuses.get(one.status, one.status))
        for one in conversation.messages
    )
    yield replace(conversation, messages=messages)
