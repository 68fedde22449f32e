"""Messages as other tools write them: who said what and when, how people rated it, and how it ended.

Only what is read is looked at. What would change what an answer means, such as a picture in its question, is refused.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from store.errors import BadRow
from store.io.left_out import MARKS, REASONING, TOOL_CALL
from store.io.meaning import Meaning
from store.io.records import ImportedConversation, ImportedMessage, ImportedRating, finish_reason_of
from store.io.values import THUMBS, is_verdict
from store.records import Role

Raw = Mapping[str, Any]

_ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), Role.USER),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model", "bot", "ai"), Role.ASSISTANT),
}
_REASONING_PARTS = re.compile("think(ing)?|thoughts?|reasoning(_recap)?|redacted_thinking")
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
_FILES = ("files", "attachments", "images", "videos", "audios")
_TIMES = ("timestamp", "create_time", "createdAt", "created_at", "created_date")


def read_messages(messages: Any, role: Role = Role.USER, is_context: bool = False) -> list[ImportedMessage]:
    """A plain text is one message of `role`. Times are not read."""
    if isinstance(messages, str):
        return [ImportedMessage(role, messages, is_context=is_context)]
    if not isinstance(messages, (list, dict)):
        raise BadRow(f"its messages are of type {type(messages).__name__}; a list is needed.")
    listed = messages if isinstance(messages, list) else [messages]
    found = [read_message(raw, f"message {number}") for number, raw in enumerate(listed, start=1)]
    return [replace(one, is_context=True) for one in found] if is_context else found


def read_list(row: Raw, meaning: Meaning, key: str) -> list[ImportedConversation]:
    _refuse_files(row, "it")
    return [with_ending(read_messages(row[key]), row, meaning)]


def with_ending(messages: list[ImportedMessage], row: Raw, meaning: Meaning) -> ImportedConversation:
    """What the row itself says is about its last answer: the verdict, and how it ended."""
    verdict, reason = meaning.verdict(row), finish_reason_of(row)
    if messages and messages[-1].role is Role.ASSISTANT:
        last = messages[-1]
        ratings = last.ratings if verdict is None else (ImportedRating(verdict),)
        messages[-1] = replace(last, ratings=ratings, finish_reason=reason or last.finish_reason)
    return ImportedConversation(tuple(messages))


def read_message(raw: Any, name: str, meaning: Meaning | None = None) -> ImportedMessage:
    if not isinstance(raw, Mapping):
        raise BadRow(f"{name} is no object.")
    sender = sender_of(raw)
    if sender in ("system", "developer"):
        return ImportedMessage(Role.USER, _system_text(raw), is_system=True)
    if sender not in _ROLES:
        raise BadRow(f"{name} has the role {sender!r}. Only system, user and assistant can be imported.")
    role = _ROLES[sender]
    if role is Role.USER:
        _refuse_files(raw, name)
    given = next((raw[key] for key in _TIMES if raw.get(key) is not None), None)
    at = meaning.time(given, "time") if meaning else None
    texts = _contents(raw)
    if not texts:
        raise BadRow(f"{name} has no content. Tool calls cannot be imported.")
    text = _text(next(filter(None, texts), ""), role, name)
    if role is Role.USER:
        return ImportedMessage(role, text, at)
    thought = MARKS[REASONING] if any(raw.get(field) for field in _REASONING_FIELDS) else ""
    return ImportedMessage(role, thought + text, at, _ratings(raw), raw.get("weight") == 0, _end_of(raw))


def _contents(raw: Raw) -> list[Any]:
    return [raw[key] for key in ("content", "value", "text", "parts", "output") if raw.get(key) is not None]


def _system_text(raw: Raw) -> str:
    """A system message is no part of what is imported, so one with a picture refuses nothing."""
    with suppress(BadRow):
        return _text(next(filter(None, _contents(raw)), ""), Role.USER, "")
    return ""


def _end_of(raw: Raw) -> str | None:
    """Why it ended; LibreChat and open-webui mark what was interrupted, and ChatGPT has the reason one level down."""
    if raw.get("unfinished") is True or raw.get("done") is False or raw.get("error"):
        return "interrupted"
    details = _inner(_inner(raw, "metadata"), "finish_details").get("type")
    if isinstance(details, str):
        return details
    return finish_reason_of(raw) or finish_reason_of(_inner(raw, "usage"))


def _inner(raw: Raw, key: str) -> Raw:
    """The object below a key, if there is one."""
    return found if isinstance(found := raw.get(key), dict) else {}


def sender_of(raw: Raw) -> str:
    if isinstance(is_user := raw.get("isCreatedByUser"), bool):
        return "user" if is_user else "assistant"
    names = (raw.get("role"), raw.get("from"), raw.get("sender"), _inner(raw, "author").get("role"))
    return next((name.lower() for name in names if isinstance(name, str)), "")


def _refuse_files(raw: Raw, name: str) -> None:
    for holder in (raw, _inner(raw, "metadata")):
        if kind := next((key for key in _FILES if holder.get(key)), None):
            raise BadRow(f"{name} comes with {kind}, without which its answer means something else.")


def _text(content: Any, role: Role, name: str) -> str:
    """Of a text, a part, or a list of either."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_text(part, role, name) for part in content)
    if not isinstance(content, dict):
        raise BadRow(f"{name} has a part that is {str(content)[:40]}. Only text can be imported.")
    kind = str(content.get("type") or content.get("content_type") or ", ".join(content))
    if content.get("thought") is True or _REASONING_PARTS.fullmatch(kind):
        return MARKS[REASONING]
    if kind in ("message", "text", "multimodal_text") and ("content" in content or "parts" in content):
        return _text(content.get("content") or content.get("parts") or "", role, name)
    text = _inner(content, "text").get("value", content.get("text"))
    if isinstance(text, str):
        return text
    if role is Role.ASSISTANT and re.search("tool|function|code|execution", kind, re.IGNORECASE):
        return MARKS[TOOL_CALL]
    raise BadRow(f"{name} has a part of type {kind!r}. Only text can be imported.")


def _ratings(raw: Raw) -> tuple[ImportedRating, ...]:
    given = raw.get("annotation") or raw.get("feedback")
    if given is None and raw.get("score") in (1, -1):
        given = raw["score"]
    if not isinstance(given, dict):
        given = {"rating": given if is_verdict(str(given)) else None}
    rating = rating_of(given)
    return () if rating.verdict is None and not rating.comment else (rating,)


def rating_of(given: Raw) -> ImportedRating:
    """As open-webui, LibreChat and OpenAI write it."""
    reason, comment = given.get("reason") or given.get("tag"), given.get("comment") or given.get("text")
    return ImportedRating(THUMBS.verdict(given.get("rating")), words(reason), words(comment))


def words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(filter(None, map(words, value)))
    return value if isinstance(value, str) else ""
