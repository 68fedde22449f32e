"""open-webui's feedback export ⇄ rated answers, each with the branch of the chat that leads to it.

In: feedbacks as `GET /api/v1/evaluations/feedbacks/all/export` and the page's Export write them, whole conversations.
Out: conversations with one rating, and one feedback for each rater's latest rating of an answer. Pure. Reads
`data.rating` (1 or -1), `data.reason`, `data.comment`, `meta.message_id` and the chat in `snapshot`. open-webui has no
corrections; they are written to `data.correction`, since it allows for additions there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from store.carried import CarriedConversation, CarriedRating, CarriedTurn, WholeConversation
from store.errors import BadRow
from store.formats.answers import Answer, answers
from store.formats.format import Format
from store.records import Message, Rating, Role, Verdict

_MILLISECONDS = 1e11  # no time in seconds is as large before the year 5138


class _Data(msgspec.Struct):
    rating: int | float | str | None = None
    reason: str | None = None
    comment: str | None = None
    correction: str | None = None


class _Meta(msgspec.Struct):
    message_id: str | None = None
    chat_id: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str = ""
    parent: str | None = msgspec.field(default=None, name="parentId")
    timestamp: float | None = None


class _Feedback(msgspec.Struct):
    data: _Data | None = None
    meta: _Meta | None = None
    snapshot: dict[str, Any] | None = None
    user_id: str = ""
    created_at: float | None = None
    updated_at: float | None = None


_decode = msgspec.json.Decoder(_Feedback).decode


def _recognises(row: Mapping[str, Any]) -> bool:
    return "snapshot" in row or (isinstance(row.get("data"), dict) and isinstance(row.get("meta"), dict))


def _read(data: bytes) -> CarriedConversation:
    feedback = _decode(data)
    told, meta = feedback.data or _Data(), feedback.meta or _Meta()
    title, messages = _history(feedback.snapshot or {})
    if meta.message_id not in messages:
        raise BadRow(
            f"its snapshot does not have the rated message {meta.message_id!r}. Export the feedback as JSON, under "
            "Evaluations → Feedback, from a server that keeps snapshots."
        )
    turns = _branch(meta.message_id, messages)
    rating = CarriedRating(
        _verdict(told.rating),
        told.reason or "",
        told.comment or "",
        told.correction,
        feedback.user_id,
        _seconds(feedback.updated_at or feedback.created_at),
    )
    if not turns or turns[-1].role is not Role.ASSISTANT:
        raise BadRow(f"the rated message {meta.message_id!r} is no answer.")
    last = turns[-1]
    rated = CarriedTurn(last.role, last.text, last.created_at, (rating,))
    return CarriedConversation((*turns[:-1], rated), meta.chat_id or "", title)


def _history(snapshot: Mapping[str, Any]) -> tuple[str, dict[str, _Message]]:
    """Title and messages by id; the chat record holds the chat itself, which holds its history."""
    title, place = "", snapshot
    for name in ("chat", "chat", "history"):
        if isinstance(place.get(name), dict):
            place = place[name]
            title = title or (place["title"] if isinstance(place.get("title"), str) else "")
    found = place.get("messages")
    if isinstance(found, list):
        found = {str(m["id"]): m for m in found if isinstance(m, dict) and "id" in m}
    return title, msgspec.convert(found or {}, dict[str, _Message])


def _branch(id: str | None, messages: Mapping[str, _Message]) -> list[CarriedTurn]:
    turns: list[CarriedTurn] = []
    seen = set()
    while id is not None:
        if id not in messages or id in seen:
            raise BadRow(f"message {id!r}, which leads to the rated one, is missing or its own parent.")
        seen.add(id)
        message = messages[id]
        if message.role in ("user", "assistant"):
            at = _seconds(message.timestamp)
            turns.append(CarriedTurn(Role(message.role), message.content, at, counts=False))
        id = message.parent
    return turns[::-1]


def _verdict(rating: int | float | str | None) -> Verdict | None:
    try:
        value = float(rating or 0)
    except ValueError as error:
        raise BadRow(f"its rating is {rating!r}. It has to be 1 or -1.") from error
    return Verdict.UP if value > 0 else Verdict.DOWN if value < 0 else None


def _seconds(at: float | None) -> float | None:
    return None if at is None else at / 1000 if at > _MILLISECONDS else at


def _write(whole: WholeConversation) -> Iterator[object]:
    for answer in answers(whole):
        for rating in answer.ratings:
            yield _feedback(whole, answer, rating)


def _feedback(whole: WholeConversation, answer: Answer, rating: Rating) -> dict[str, object]:
    value = None if rating.verdict is None else 1 if rating.verdict is Verdict.UP else -1
    data: dict[str, object] = {"rating": value, "model_id": "", "reason": rating.reason}
    data["comment"] = rating.comment
    if rating.correction is not None:
        data["correction"] = rating.correction
    chat = whole.conversation
    history = {"messages": _messages(answer.path), "currentId": answer.message.id}
    return {
        "id": rating.id,
        "user_id": rating.rater,
        "version": 0,
        "type": "rating",
        "data": data,
        "meta": {
            "arena": False,
            "message_id": answer.message.id,
            "message_index": len(answer.path),
            "chat_id": chat.id,
        },
        "snapshot": {"chat": {"id": chat.id, "title": chat.title, "chat": {"history": history}}},
        "created_at": int(rating.created_at),
        "updated_at": int(rating.created_at),
    }


def _messages(path: tuple[Message, ...]) -> dict[str, object]:
    below = [*(message.id for message in path[1:]), None]
    return {
        message.id: {
            "id": message.id,
            "parentId": message.parent_id,
            "childrenIds": [] if child is None else [child],
            "role": message.role,
            "content": message.text,
            "timestamp": int(message.created_at),
        }
        for message, child in zip(path, below, strict=True)
    }


OPEN_WEBUI = Format(
    name="open-webui",
    carries="each rater's latest rating of an answer, with its reason, its comment, its correction and the chat "
    "up to that answer",
    leaves="earlier ratings, reviewers' decisions, conversations that nobody rated, and parts of seconds",
    recognises=_recognises,
    read=_read,
    write=_write,
    is_list=True,
)
