"""Messages as other tools write them: who said what and when, how people rated it, and how it ended.

Only what is read is looked at. What would change what an answer means, such as a picture in its question, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from store.errors import BadRow
from store.io.left_out import MARKS, REASONING, TOOL_CALL
from store.io.meaning import Meaning
from store.io.records import (
    ImportedConversation,
    ImportedMessage,
    ImportedRating,
    finish_reason_of,
)
from store.io.scales import Scale, is_verdict
from store.records import Role

Raw = Mapping[str, Any]

_ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), Role.USER),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model", "bot", "ai"), Role.ASSISTANT),
}
_REASONING_PARTS = (
    "think",
    "thinking",
    "thought",
    "thoughts",
    "reasoning",
    "reasoning_recap",
    "redacted_thinking",
)
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
_FILES = ("files", "attachments", "images", "videos", "audios")
_TIMES = ("timestamp", "create_time", "createdAt", "created_at", "created_date")
THUMBS = Scale(zero=None)


def read_messages(messages: Any, role: Role = Role.USER, is_context: bool = False) -> list[ImportedMessage]:
    """A plain text is one message of `role`. Times are not read."""
    if isinstance(messages, str):
        return [ImportedMessage(role, messages, is_context=is_context)]
    if not isinstance(messages, (list, dict)):
        raise BadRow(f"its messages are of type {type(messages).__name__}; a list is needed.")
    listed = messages if isinstance(messages, list) else [messages]
    found = [read_message(raw, f"message {number}") for number, raw in enumerate(listed, start=1)]
    return [replace(one, is_context=True) for one in found] if is_context else found


def read_list(row: Raw, meaning: Meaning, key: str) -> ImportedConversation:
    """The verdict that a row may have is about its last answer."""
    _refuse_files(row, "it")
    messages = read_messages(row[key])
    verdict = meaning.verdict(row)
    if verdict is not None and messages and messages[-1].role is Role.ASSISTANT:
        messages[-1] = replace(messages[-1], ratings=(ImportedRating(verdict),))
    return ImportedConversation(ended(messages, row))


def ended(messages: list[ImportedMessage], row: Raw) -> tuple[ImportedMessage, ...]:
    """Where the row itself says how its answer ended, the last message has it."""
    if (reason := finish_reason_of(row)) and messages:
        messages[-1] = replace(messages[-1], finish_reason=reason)
    return tuple(messages)


def read_message(raw: Any, name: str, meaning: Meaning | None = None) -> ImportedMessage:
    if not isinstance(raw, Mapping):
        raise BadRow(f"{name} is no object.")
    sender = sender_of(raw)
    if sender in ("system", "developer"):
        return ImportedMessage(Role.USER, "", is_system=True)
    if sender not in _ROLES:
        raise BadRow(f"{name} has the role {sender!r}. Only system, user and assistant can be imported.")
    role = _ROLES[sender]
    if role is Role.USER:
        _refuse_files(raw, name)
    given = next((raw[key] for key in _TIMES if raw.get(key) is not None), None)
    at = meaning.time(given, "time") if meaning else None
    if role is Role.USER:
        return ImportedMessage(role, _text(raw, role, name), at)
    thought = MARKS[REASONING] if any(raw.get(field) for field in _REASONING_FIELDS) else ""
    text = thought + _text(raw, role, name)
    return ImportedMessage(role, text, at, _ratings(raw), raw.get("weight") == 0, _end_of(raw))


def _end_of(raw: Raw) -> str | None:
    """Why it ended; LibreChat and open-webui mark what was interrupted, and ChatGPT has the reason one level down."""
    if raw.get("unfinished") is True or raw.get("done") is False or raw.get("error"):
        return "interrupted"
    usage = raw.get("usage")
    details = metadata.get("finish_details") if isinstance(metadata := raw.get("metadata"), dict) else None
    if isinstance(details, dict) and isinstance(details.get("type"), str):
        return str(details["type"])
    return finish_reason_of(raw) or (finish_reason_of(usage) if isinstance(usage, dict) else None)


def sender_of(raw: Any) -> str:
    if not isinstance(raw, dict):
        return ""
    if isinstance(is_user := raw.get("isCreatedByUser"), bool):
        return "user" if is_user else "assistant"
    author = raw.get("author")
    names = (
        raw.get("role"),
        raw.get("from"),
        raw.get("sender"),
        author.get("role") if isinstance(author, dict) else "",
    )
    return next((name.lower() for name in names if isinstance(name, str)), "")


def _refuse_files(raw: Raw, name: str) -> None:
    metadata = raw.get("metadata")
    for holder in (raw, metadata if isinstance(metadata, dict) else {}):
        if kind := next((key for key in _FILES if holder.get(key)), None):
            raise BadRow(f"{name} comes with {kind}, without which its answer means something else.")


def _text(raw: Raw, role: Role, name: str) -> str:
    found = [raw[key] for key in ("content", "value", "text", "parts", "output") if raw.get(key) is not None]
    if not found:
        raise BadRow(f"{name} has no content. Tool calls cannot be imported.")
    return _joined(next(filter(None, found), ""), role, name)


def _joined(content: Any, role: Role, name: str) -> str:
    if isinstance(content, list):
        return "".join(_part(part, role, name) for part in content)
    return content if isinstance(content, str) else _part(content, role, name)


def _part(part: Any, role: Role, name: str) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise BadRow(f"{name} has a part that is {str(part)[:40]}. Only text can be imported.")
    kind = str(part.get("type") or part.get("content_type") or ", ".join(part))
    if part.get("thought") is True or kind in _REASONING_PARTS:
        return MARKS[REASONING]
    if kind in ("message", "text", "multimodal_text") and ("content" in part or "parts" in part):
        return _joined(part.get("content") or part.get("parts") or "", role, name)
    text = part.get("text")
    text = text.get("value") if isinstance(text, dict) else text
    if isinstance(text, str):
        return text
    if role is Role.ASSISTANT and any(
        word in kind.lower() for word in ("tool", "function", "code", "execution")
    ):
        return MARKS[TOOL_CALL]
    raise BadRow(f"{name} has a part of type {kind!r}. Only text can be imported.")


def _ratings(raw: Raw) -> tuple[ImportedRating, ...]:
    given = raw.get("annotation") or raw.get("feedback")
    if given is None and raw.get("score") in (1, -1):
        given = raw["score"]
    if not isinstance(given, dict):
        given = {"rating": given if is_verdict(str(given)) else None}
    verdict = THUMBS.verdict(given.get("rating"))
    comment = words(given.get("comment") or given.get("text"))
    if verdict is None and not comment:
        return ()
    return (ImportedRating(verdict, words(given.get("reason") or given.get("tag")), comment),)


def words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(filter(None, map(words, value)))
    return value if isinstance(value, str) else ""
