"""Shorthand's own rows ⇄ whole conversations, with nothing lost but what each answer was served with.

In: rows, whole conversations. Out: the same conversations, ids and times included. Pure. The first row is the assistant
with its prompts, for people to read. Raises BadRow for a conversation that contradicts itself, since the file may have
been edited. Does not know whose conversations they become.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from store.carried import AssistantCard, WholeConversation
from store.errors import BadRow
from store.formats.format import Format
from store.records import (
    Conversation,
    Decision,
    Message,
    MessageStatus,
    Proposal,
    Rating,
    Role,
    Ruling,
    Split,
    Usage,
    Verdict,
)

_VERSION = 1


class _Message(msgspec.Struct, omit_defaults=True):
    id: str
    role: Role
    text: str
    created_at: float
    parent: str | None = None
    status: MessageStatus = MessageStatus.COMPLETE
    usage: Usage | None = None


class _Rating(msgspec.Struct, omit_defaults=True):
    id: str
    message: str
    rater: str
    created_at: float
    verdict: Verdict | None = None
    reason: str = ""
    comment: str = ""
    correction: str | None = None


class _Decision(msgspec.Struct, omit_defaults=True):
    id: str
    message: str
    reviewer: str
    ruling: Ruling
    created_at: float
    correction: str | None = None
    restores: str | None = None


class _Proposal(msgspec.Struct):
    message: str
    text: str
    created_at: float
    accepted: bool
    decided_by: str
    decided_at: float


class _Row(msgspec.Struct, omit_defaults=True):
    id: str
    title: str
    owner: str
    source: str
    created_at: float
    updated_at: float
    head: str | None
    messages: list[_Message]
    ratings: list[_Rating] = []
    split: Split | None = None
    decisions: list[_Decision] = []
    proposals: list[_Proposal] = []


_decode = msgspec.json.Decoder(_Row).decode
_decode_any = msgspec.json.Decoder(dict[str, Any]).decode


def _recognises(row: Mapping[str, Any]) -> bool:
    return "shorthand" in row or ("head" in row and "messages" in row)


def _heading(card: AssistantCard) -> object:
    return {"shorthand": _VERSION, "assistant": card}


def _read(data: bytes) -> WholeConversation | None:
    if data.startswith(b'{"shorthand":'):
        version = _decode_any(data)["shorthand"]
        if version != _VERSION:
            raise BadRow(f"it was written by a newer Shorthand (version {version!r}). Upgrade Shorthand.")
        return None
    row = _decode(data)
    messages = tuple(
        Message(m.id, row.id, m.parent, m.role, m.text, m.created_at, m.status, None, m.usage)
        for m in row.messages
    )
    ratings = tuple(
        Rating(r.id, r.message, r.rater, r.verdict, r.created_at, r.reason, r.comment, r.correction)
        for r in row.ratings
    )
    decisions = tuple(
        Decision(d.id, d.message, d.reviewer, d.ruling, d.created_at, d.correction, d.restores)
        for d in row.decisions
    )
    proposals = tuple(
        Proposal(0, None, p.message, p.text, p.created_at, p.accepted, p.decided_by, p.decided_at)
        for p in row.proposals
    )
    _check(row, messages, ratings, decisions)
    conversation = Conversation(
        row.id, "", row.title, row.created_at, row.updated_at, row.owner, row.source, row.head
    )
    return WholeConversation(conversation, messages, ratings, row.split, decisions, proposals)


def _check(
    row: _Row, messages: Iterable[Message], ratings: Iterable[Rating], decisions: Iterable[Decision]
) -> None:
    if not row.id:
        raise BadRow("its id is empty.")
    if row.source not in ("chat", "sample", "import"):
        raise BadRow(f"its source is {row.source!r}. It has to be chat, sample or import.")
    seen: dict[str, Message] = {}
    for message in messages:
        parent = seen.get(message.parent_id) if message.parent_id is not None else None
        if message.parent_id is not None and parent is None:
            raise BadRow(
                f"message {message.id!r} follows {message.parent_id!r}, which does not come before it."
            )
        if message.role is Role.ASSISTANT and (parent is None or parent.role is not Role.USER):
            raise BadRow(f"message {message.id!r} is an answer that follows no user's message.")
        if message.id in seen or not message.id:
            raise BadRow(f"the message id {message.id!r} is empty or there twice.")
        seen[message.id] = message
    if (row.head is None) != (not seen) or (row.head is not None and row.head not in seen):
        raise BadRow(f"it shows message {row.head!r}, which is not in it.")
    for rating in ratings:
        if rating.message_id not in seen or seen[rating.message_id].role is not Role.ASSISTANT:
            raise BadRow(f"rating {rating.id!r} is about {rating.message_id!r}, which is no answer in it.")
        if not rating.id:
            raise BadRow(f"a rating of message {rating.message_id!r} has an empty id.")
    for decision in decisions:
        _check_decision(decision, seen)
    for proposal in row.proposals:
        if proposal.message not in seen or seen[proposal.message].role is not Role.ASSISTANT:
            raise BadRow(f"a proposal is about {proposal.message!r}, which is no answer in it.")
    times = (
        row.created_at,
        row.updated_at,
        *(m.created_at for m in messages),
        *(r.created_at for r in ratings),
        *(d.created_at for d in decisions),
        *(time for p in row.proposals for time in (p.created_at, p.decided_at)),
    )
    if not all(map(math.isfinite, times)):
        raise BadRow("one of its times is no number.")


def _check_decision(decision: Decision, seen: Mapping[str, Message]) -> None:
    about = decision.message_id
    if about not in seen or seen[about].role is not Role.ASSISTANT:
        raise BadRow(f"decision {decision.id!r} is about {about!r}, which is no answer in it.")
    if not decision.id:
        raise BadRow(f"a decision about message {about!r} has an empty id.")
    has_text = decision.correction is not None
    if decision.ruling is not Ruling.APPROVE and has_text != (decision.ruling is Ruling.CORRECT):
        raise BadRow(
            f"decision {decision.id!r} is {decision.ruling.value!r} {'with' if has_text else 'without'} a correction."
        )


def _write(whole: WholeConversation) -> Iterator[object]:
    conversation = whole.conversation
    yield _Row(
        id=conversation.id,
        title=conversation.title,
        owner=conversation.owner,
        source=conversation.source,
        created_at=conversation.created_at,
        updated_at=conversation.updated_at,
        head=conversation.head_id,
        messages=[
            _Message(m.id, m.role, m.text, m.created_at, m.parent_id, _settled(m.status), m.usage)
            for m in whole.messages
        ],
        ratings=[
            _Rating(r.id, r.message_id, r.rater, r.created_at, r.verdict, r.reason, r.comment, r.correction)
            for r in whole.ratings
        ],
        split=whole.split,
        decisions=[
            _Decision(d.id, d.message_id, d.reviewer, d.ruling, d.created_at, d.correction, d.restores)
            for d in whole.decisions
        ],
        proposals=[
            _Proposal(p.message_id, p.text, p.created_at, p.accepted, p.decided_by, p.decided_at)
            for p in whole.proposals
            if p.accepted is not None and p.decided_at is not None
        ],
    )


def _settled(status: MessageStatus) -> MessageStatus:
    # A file does not go on being written to: what was being generated is as if it had been cut off there.
    return MessageStatus.FAILED if status is MessageStatus.STREAMING else status


SHORTHAND = Format(
    name="shorthand",
    carries="each conversation with every message, rating, correction, reason, comment, rater, time, reviewer's "
    "decision, decided proposal and split",
    leaves="datasets, runs and adapters, and which deployment gave an answer",
    recognises=_recognises,
    read=_read,
    write=_write,
    heading=_heading,
)
