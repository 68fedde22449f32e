"""Shorthand's own rows: a conversation each, with nothing lost but what each answer was served with.

The first row is the assistant with its prompts, for people to read. Files may have been edited, so that a conversation
which contradicts itself raises BadRow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from store.errors import BadRow
from store.io.records import FullConversation
from store.records import (
    Assistant,
    Conversation,
    Decision,
    JudgementRequest,
    Message,
    MessageStatus,
    Prompt,
    Rating,
    Role,
    Ruling,
    Split,
    Usage,
    Verdict,
)

_VERSION = 1
_OF_CONVERSATION = ("id", "title", "owner", "source", "created_at", "updated_at", "head_id")
_Record = TypeVar("_Record")

_Id = Annotated[str, msgspec.Meta(min_length=1)]
_Time = Annotated[float, msgspec.Meta(ge=-1e13, le=1e13)]  # also keeps NaN and infinity out


class _Message(msgspec.Struct, omit_defaults=True, rename={"parent_id": "parent"}):
    id: _Id
    role: Role
    text: str
    created_at: _Time
    parent_id: str | None = None
    status: MessageStatus = MessageStatus.COMPLETE
    usage: Usage | None = None


class _Rating(msgspec.Struct, omit_defaults=True, rename={"message_id": "message"}):
    id: _Id
    message_id: str
    rater: str
    created_at: _Time
    verdict: Verdict | None = None
    reason: str = ""
    comment: str = ""
    correction: str | None = None


class _Decision(msgspec.Struct, omit_defaults=True, rename={"message_id": "message"}):
    id: _Id
    message_id: str
    reviewer: str
    ruling: Ruling
    created_at: _Time
    correction: str | None = None
    restores: str | None = None


class _JudgementRequest(msgspec.Struct, rename={"message_id": "message"}):
    message_id: str
    text: str
    created_at: _Time
    accepted: bool
    decided_by: str
    decided_at: _Time


class _Row(msgspec.Struct, omit_defaults=True, rename={"head_id": "head"}):
    id: _Id
    title: str
    owner: str
    source: Literal["chat", "sample", "import"]
    created_at: _Time
    updated_at: _Time
    head_id: str | None
    messages: list[_Message]
    ratings: list[_Rating] = []
    split: Split | None = None
    decisions: list[_Decision] = []
    judgement_requests: list[_JudgementRequest] = []


def matches(row: Mapping[str, Any]) -> bool:
    return "shorthand" in row or ("head" in row and "messages" in row)


def first_row(assistant: Assistant, prompts: Sequence[Prompt]) -> object:
    return {"shorthand": _VERSION, "assistant": {**vars(assistant), "prompts": prompts}}


def read(row: Any) -> FullConversation | None:
    """None for the first row. Whose conversation it becomes is the importer's to say."""
    if isinstance(row, dict) and "shorthand" in row:
        if row["shorthand"] != _VERSION:
            raise BadRow(
                f"it was written by a newer Shorthand (version {row['shorthand']!r}). Upgrade Shorthand."
            )
        return None
    found = msgspec.convert(row, _Row)
    _check(found)
    return FullConversation(
        Conversation(assistant_id="", **{name: getattr(found, name) for name in _OF_CONVERSATION}),
        _records(Message, found.messages, conversation_id=found.id),
        _records(Rating, found.ratings),
        found.split,
        _records(Decision, found.decisions),
        _records(JudgementRequest, found.judgement_requests, id=0, run_id=None),
    )


def _records(
    kind: Callable[..., _Record], rows: Sequence[msgspec.Struct], **more: Any
) -> tuple[_Record, ...]:
    return tuple(kind(**msgspec.structs.asdict(row), **more) for row in rows)


def _check(row: _Row) -> None:
    roles: dict[str | None, Role] = {}
    for message in row.messages:
        above = roles.get(message.parent_id)
        if message.parent_id is not None and above is None:
            raise BadRow(
                f"message {message.id!r} follows {message.parent_id!r}, which does not come before it."
            )
        if message.role is Role.ASSISTANT and above is not Role.USER:
            raise BadRow(f"message {message.id!r} is an answer that follows no user's message.")
        if message.id in roles:
            raise BadRow(f"the message id {message.id!r} is there twice.")
        roles[message.id] = message.role
    if row.head_id not in (roles or {None}):
        raise BadRow(f"it shows message {row.head_id!r}, which is not in it.")
    about: dict[str, list[Any]] = {
        "rating": row.ratings,
        "decision": row.decisions,
        "judgement request": row.judgement_requests,
    }
    for kind, items in about.items():
        for item in items:
            if roles.get(item.message_id) is not Role.ASSISTANT:
                raise BadRow(
                    f"a {kind.replace('_', ' ')} is about {item.message_id!r}, which is no answer in it."
                )
    for decision in row.decisions:
        has_text = decision.correction is not None
        if decision.ruling is not Ruling.APPROVE and has_text != (decision.ruling is Ruling.CORRECT):
            raise BadRow(
                f"decision {decision.id!r} is {decision.ruling.value!r} "
                f"{'with' if has_text else 'without'} a correction."
            )


def write(conversation: FullConversation) -> Iterator[Any]:
    yield _Row(
        **{name: getattr(conversation.conversation, name) for name in _OF_CONVERSATION},
        messages=_rows(map(_ended, conversation.messages), _Message),
        ratings=_rows(conversation.ratings, _Rating),
        split=conversation.split,
        decisions=_rows(conversation.decisions, _Decision),
        judgement_requests=_rows(conversation.judgement_requests, _JudgementRequest),
    )


def _rows(records: Iterable[object], kind: Any) -> Any:
    return msgspec.convert(list(records), list[kind], from_attributes=True)


def _ended(message: Message) -> Message:
    # A file does not go on being written to: what was being generated is as if it had been cut off there.
    if message.status is MessageStatus.STREAMING:
        return replace(message, status=MessageStatus.FAILED)
    return message
