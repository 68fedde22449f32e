"""open-webui's feedback export (`GET /api/v1/evaluations/feedbacks/all/export`): a rating and the chat it is about.

Reads `data.rating` (1 or -1), `data.reason`, `data.comment`, `meta.message_id` and the chat in `snapshot`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from store.errors import BadRow
from store.io.records import ImportedConversation, ImportedMessage, ImportedRating, finish_reason_of
from store.records import Role, Verdict

_MILLISECONDS = 1e11  # no time in seconds is as large before the year 5138


class _Data(msgspec.Struct):
    rating: int | float | str | None = None
    reason: str | None = None
    comment: str | None = None


class _Meta(msgspec.Struct):
    message_id: str | None = None
    chat_id: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str = ""
    parent: str | None = msgspec.field(default=None, name="parentId")
    timestamp: float | None = None
    done: Any = None
    usage: Any = None


class _Feedback(msgspec.Struct):
    data: _Data | None = None
    meta: _Meta | None = None
    snapshot: dict[str, Any] | None = None
    user_id: str = ""
    created_at: float | None = None
    updated_at: float | None = None


def matches(row: Mapping[str, Any]) -> bool:
    return "snapshot" in row or (isinstance(row.get("data"), dict) and isinstance(row.get("meta"), dict))


def read(row: Any) -> ImportedConversation:
    feedback = msgspec.convert(row, _Feedback)
    data, meta = feedback.data or _Data(), feedback.meta or _Meta()
    title, history = _history(feedback.snapshot or {})
    if meta.message_id not in history:
        raise BadRow(
            f"its snapshot does not have the rated message {meta.message_id!r}. Export the feedback as JSON, under "
            "Evaluations → Feedback, from a server that keeps snapshots."
        )
    rating = ImportedRating(
        _verdict(data.rating),
        data.reason or "",
        data.comment or "",
        rater=feedback.user_id,
        created_at=_seconds(feedback.updated_at or feedback.created_at),
    )
    messages = _branch(meta.message_id, history, rating)
    if not messages or messages[-1].role is not Role.ASSISTANT:
        raise BadRow(f"the rated message {meta.message_id!r} is no answer.")
    return ImportedConversation(messages, meta.chat_id or "", title)


def _history(snapshot: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Title and messages by id; the chat record holds the chat itself, which holds its history."""
    title, found = "", snapshot
    for name in ("chat", "chat", "history"):
        if isinstance(found.get(name), dict):
            found = found[name]
            title = title or (found["title"] if isinstance(found.get("title"), str) else "")
    messages = found.get("messages")
    if isinstance(messages, list):
        messages = {str(m["id"]): m for m in messages if isinstance(m, dict) and "id" in m}
    return title, msgspec.convert(messages or {}, dict[str, Any])


def _branch(
    id: str | None, history: Mapping[str, Any], rating: ImportedRating
) -> tuple[ImportedMessage, ...]:
    """From the first message to the rated one; only what is on that branch is looked at."""
    rated = id
    messages: list[ImportedMessage] = []
    seen = set()
    while id is not None:
        if id not in history or id in seen:
            raise BadRow(f"message {id!r}, which leads to the rated one, is missing or its own parent.")
        seen.add(id)
        message = msgspec.convert(history[id], _Message)
        if message.role in ("user", "assistant"):
            ratings = (rating,) if id == rated else ()
            at = _seconds(message.timestamp)
            end = finish_reason_of(message.usage if isinstance(message.usage, dict) else {})
            end = "interrupted" if message.done is False else end
            messages.append(ImportedMessage(Role(message.role), message.content, at, ratings, True, end))
        id = message.parent
    return tuple(reversed(messages))


def _verdict(rating: int | float | str | None) -> Verdict | None:
    try:
        value = float(rating or 0)
    except ValueError as error:
        raise BadRow(f"its rating is {rating!r}. It has to be 1 or -1.") from error
    return Verdict.UP if value > 0 else Verdict.DOWN if value < 0 else None


def _seconds(at: float | None) -> float | None:
    return None if at is None else at / 1000 if at > _MILLISECONDS else at
