"""The table of file formats, and the chat formats of OpenAI, TRL and ShareGPT: rows to conversations and back.

`read` raises BadRow or msgspec.ValidationError for a row that cannot be imported. System messages are left out: an
assistant's prompt is written on the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from store.errors import BadRow, StoreError
from store.io import open_webui, shorthand, table
from store.io.records import (
    FullConversation,
    ImportedConversation,
    ImportedMessage,
    ImportedRating,
    finish_reason_of,
)
from store.records import Message, Role, Verdict

_ROLES = {
    **dict.fromkeys(("user", "human"), Role.USER),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model"), Role.ASSISTANT),
}


@dataclass(frozen=True)
class Format:
    """A format of JSON rows, one a line or all in one list; `csv` alone is a table."""

    name: str
    write: Callable[[FullConversation], Iterator[Any]] | None  # the rows of a conversation; None: only read
    read: Callable[[Any], ImportedConversation | FullConversation | None] = lambda row: None
    matches: Callable[[Mapping[str, Any]], bool] = lambda row: False  # whether a row is of this format


def _has(*keys: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda row: all(key in row for key in keys)


class _ChatMessage(msgspec.Struct):
    """A message with OpenAI's names or ShareGPT's; a content of several parts can be imported if all are text."""

    role: str | None = None
    content: str | list[dict[str, Any]] | None = None
    sender: str | None = msgspec.field(default=None, name="from")
    value: str | None = None
    weight: float | None = None  # 0 is OpenAI's sign for “context, not to be learned”
    finish_reason: Any = None
    stop_reason: Any = None


_Messages = str | list[_ChatMessage]


class _OpenAI(msgspec.Struct):
    messages: list[_ChatMessage]


class _ShareGPT(msgspec.Struct):
    conversations: list[_ChatMessage]


class _Completion(msgspec.Struct):
    prompt: _Messages
    completion: _Messages
    label: bool | None = None


class _Preference(msgspec.Struct):
    chosen: _Messages
    rejected: _Messages
    prompt: _Messages | None = None


def _read_messages(
    messages: _Messages, role: Role = Role.USER, is_context: bool = False
) -> tuple[ImportedMessage, ...]:
    """A plain text is one message of `role`."""
    if isinstance(messages, str):
        return (ImportedMessage(role, messages, is_context=is_context),)
    found = []
    for number, message in enumerate(messages, start=1):
        sender = message.role or message.sender or ""
        if sender in _ROLES:
            context = is_context or message.weight == 0
            end = finish_reason_of(msgspec.structs.asdict(message))
            text = _text(message, number)
            found.append(ImportedMessage(_ROLES[sender], text, is_context=context, finish_reason=end))
        elif sender not in ("system", "developer"):
            raise BadRow(
                f"message {number} has the role {sender!r}. Only system, user and assistant can be imported."
            )
    return tuple(found)


def _text(message: _ChatMessage, number: int) -> str:
    content = message.content if message.content is not None else message.value
    if content is None:
        raise BadRow(f"message {number} has no content. Tool calls cannot be imported.")
    if isinstance(content, str):
        return content
    for part in content:
        if not isinstance(part.get("text"), str):
            raise BadRow(
                f"message {number} has a part of type {part.get('type')!r}. Only text can be imported."
            )
    return "".join(part["text"] for part in content)


def _read_openai(row: Any) -> ImportedConversation:
    return ImportedConversation(_ended(_read_messages(msgspec.convert(row, _OpenAI).messages), row))


def _read_sharegpt(row: Any) -> ImportedConversation:
    return ImportedConversation(_ended(_read_messages(msgspec.convert(row, _ShareGPT).conversations), row))


def _read_completion(row: Any) -> ImportedConversation:
    example = msgspec.convert(row, _Completion)
    context = _read_messages(example.prompt, is_context=True)
    *before, answer = _ending_with_answer(_read_messages(example.completion, Role.ASSISTANT), "completion")
    if example.label is not None:
        answer = replace(answer, ratings=(ImportedRating(Verdict.UP if example.label else Verdict.DOWN),))
    return ImportedConversation(_ended((*context, *before, answer), row))


def _ended(messages: tuple[ImportedMessage, ...], row: Any) -> tuple[ImportedMessage, ...]:
    """Where the row itself says how its answer ended, the last message has it."""
    reason = finish_reason_of(row)
    return (*messages[:-1], replace(messages[-1], finish_reason=reason)) if reason and messages else messages


def _read_preference(row: Any) -> ImportedConversation:
    """What was chosen is the correction of what was rejected."""
    example = msgspec.convert(row, _Preference)
    prompt = _read_messages(example.prompt or [], is_context=True)
    chosen = _read_messages(example.chosen, Role.ASSISTANT, is_context=True)
    rejected = _read_messages(example.rejected, Role.ASSISTANT, is_context=True)
    *before, chosen_answer = _ending_with_answer(chosen, "chosen")
    *before_rejected, answer = _ending_with_answer(rejected, "rejected")
    if before != before_rejected:
        raise BadRow("its 'chosen' and 'rejected' differ before the last message.")
    if prompt != chosen[: len(prompt)]:  # many files repeat the prompt in both lists
        before = [*prompt, *before]
    rating = ImportedRating(None, correction=chosen_answer.text)
    return ImportedConversation((*before, replace(answer, ratings=(rating,))))


def _ending_with_answer(messages: tuple[ImportedMessage, ...], name: str) -> tuple[ImportedMessage, ...]:
    if not messages or messages[-1].role is not Role.ASSISTANT:
        raise BadRow(f"its {name!r} does not end with an assistant's message.")
    return messages


def _message(role: Role, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return [_message(message.role, message.text) for message in messages]


def _write_openai(conversation: FullConversation) -> Iterator[Any]:
    for answer, text in conversation.approved_answers():
        context = _messages(answer.context)
        for message in context:
            if message["role"] is Role.ASSISTANT:
                message["weight"] = 0
        yield {"messages": [*context, _message(Role.ASSISTANT, text)]}


def _write_preferences(conversation: FullConversation) -> Iterator[Any]:
    for answer in conversation.answers():
        chosen, rejected = answer.correction, answer.message.text
        if chosen is not None and chosen.strip() and chosen != rejected:
            yield {
                "prompt": _messages(answer.context),
                "chosen": [_message(Role.ASSISTANT, chosen)],
                "rejected": [_message(Role.ASSISTANT, rejected)],
            }


SHORTHAND = Format("shorthand", shorthand.write, shorthand.read, shorthand.matches)
CSV = Format("csv", table.write)
FORMATS = (  # the first that matches a row reads the file
    SHORTHAND,
    Format("trl-preference", _write_preferences, _read_preference, _has("chosen", "rejected")),
    Format("trl-completion", None, _read_completion, _has("prompt", "completion")),
    Format("openai", _write_openai, _read_openai, _has("messages")),
    Format("sharegpt", None, _read_sharegpt, _has("conversations")),
    Format("open-webui", None, open_webui.read, open_webui.matches),
    CSV,
)
NAMES = tuple(format.name for format in FORMATS)
WRITTEN = tuple(format.name for format in FORMATS if format.write)


def find_format(name: str) -> Format:
    """Raises StoreError when there is none of that name."""
    for format in FORMATS:
        if format.name == name:
            return format
    raise StoreError(f"There is no format {name!r}. Choose one of {', '.join(NAMES)}.")
