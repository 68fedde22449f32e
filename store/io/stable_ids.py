"""Imported conversations as records, under the same ids at every import.

Ids derive from the texts and the assistant, never from the file or the clock: the same file imported twice finds its
own messages. A message's id covers all messages before it, so that rows which begin alike and belong to one
conversation share those messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from store.io.records import FullConversation, ImportedConversation, ImportedMessage, ImportedRating
from store.records import Conversation, Message, Rating, Role, Verdict
from store.visible import one_line

_TITLE_CHARACTERS = 60
_IMPORTED = re.compile(r"import-[0-9a-f]{20}")
# Hex digits of a conversation's id, of which there are millions, and of a message's within its conversation and a
# rating's within its message, of which there are thousands. All of them are in several indexes: every digit costs time
# and space.
_LONG, _SHORT = 20, 10


@dataclass(frozen=True)
class ImportOptions:
    """For whom, who rated where the file does not say, and what somebody says of the file that it does not tell."""

    assistant_id: str
    rater: str
    approve: bool  # an answer without any rating counts as rated up by `rater`
    at: float  # the time of what has none; nothing can be later
    columns: Mapping[str, str] = field(default_factory=dict)  # our name -> the file's, empty for none
    up_from: float | None = None  # numbers from here on are good ratings
    down_to: float | None = None  # and up to here bad ones
    day_first: bool | None = None  # in dates such as 10/9/2025
    encoding: str | None = None


def with_ids(imported: ImportedConversation, options: ImportOptions) -> FullConversation:
    """The same conversation has the same ids, whatever file it comes from."""
    id = _conversation_id(imported, options.assistant_id)
    messages: list[Message] = []
    ratings: list[Rating] = []
    at, parent, digest = options.at, None, b""
    for given in imported.messages:
        at = at if given.created_at is None else given.created_at
        digest = _digest(digest, given.role, given.text)
        before, parent = parent, f"{id}.{digest.hex()[:_SHORT]}"
        reason = given.finish_reason
        messages.append(Message(parent, id, before, given.role, given.text, at, finish_reason=reason))
        if given.role is Role.ASSISTANT:
            ratings += ratings_of(given, parent, options)
    conversation = Conversation(
        id,
        options.assistant_id,
        title=one_line(imported.title or messages[0].text, _TITLE_CHARACTERS),
        created_at=messages[0].created_at,
        updated_at=max(message.created_at for message in messages),
        source="import",
        head_id=messages[-1].id,
    )
    return FullConversation(conversation, tuple(messages), tuple(ratings))


def _conversation_id(imported: ImportedConversation, assistant_id: str) -> str:
    if _IMPORTED.fullmatch(imported.key):
        return imported.key  # exported after an import: the same conversation, here or elsewhere
    # "1" is an id in many files, so the first question is part of what makes a conversation the same.
    messages = imported.messages[:1] if imported.key else imported.messages
    parts = [part for message in messages for part in (message.role, message.text)]
    return f"import-{_digest(b'', assistant_id, imported.key, *parts).hex()[:_LONG]}"


def ratings_of(given: ImportedMessage, message_id: str, options: ImportOptions) -> Iterator[Rating]:
    ratings = given.ratings
    if not ratings and options.approve and not given.is_context:
        ratings = (ImportedRating(Verdict.UP),)
    for one in ratings:
        rater = one.rater or options.rater
        correction = "" if one.correction is None else f"={one.correction}"
        at, at_text = (options.at, "") if one.created_at is None else (one.created_at, repr(one.created_at))
        digest = _digest(b"", rater, one.verdict or "", one.reason, one.comment, correction, at_text)
        id, texts = f"{message_id}.{digest.hex()[:_SHORT]}", (one.reason, one.comment, one.correction)
        yield Rating(id, message_id, rater, one.verdict, at, *texts)


def _digest(before: bytes, *parts: str) -> bytes:
    # NUL separates the parts, since no text that is saved can hold one, nor a half surrogate.
    return blake2b(before + "\x00".join(parts).encode(errors="surrogatepass"), digest_size=16).digest()
