"""Conversations on their way in or out of the store: complete ones, and the less that most files know of them.

Ids of imported ones derive from the texts and the assistant, never from the file or the clock: the same file imported
twice finds its own messages. A message's id covers all messages before it, so that rows which begin alike and belong
to one conversation share those messages.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

from store.decisions import effective_decision
from store.errors import BadRow
from store.ratings import Approval, NotApproved, approval
from store.records import Conversation, Decision, Message, MessageStatus, Rating, Role, Split, Verdict
from store.visible import is_blank, one_line

FINISHED = (MessageStatus.COMPLETE, MessageStatus.STOPPED)


@dataclass(frozen=True)
class FullConversation:
    """A conversation with everything that belongs to it, each kind in the order of writing."""

    conversation: Conversation
    messages: tuple[Message, ...]
    ratings: tuple[Rating, ...] = ()
    split: Split | None = None
    decisions: tuple[Decision, ...] = ()

    def of_assistant(self, id: str) -> FullConversation:
        return replace(self, conversation=replace(self.conversation, assistant_id=id))

    @property
    def about_answers(self) -> tuple[Rating | Decision, ...]:
        return *self.ratings, *self.decisions

    def answers(self) -> Iterator[Answer]:
        """Finished answers."""
        by_id: dict[str | None, Message] = {message.id: message for message in self.messages}
        latest: defaultdict[str, dict[str, Rating]] = defaultdict(dict)
        for rating in self.ratings:
            latest[rating.message_id].pop(rating.rater, None)  # the place in the order is the latest rating's
            latest[rating.message_id][rating.rater] = rating
        decisions: defaultdict[str, list[Decision]] = defaultdict(list)
        for decision in self.decisions:
            decisions[decision.message_id].append(decision)
        for message in self.messages:
            if message.role is Role.ASSISTANT and message.status in FINISHED:
                ratings = tuple(latest[message.id].values())
                yield Answer(message, by_id, ratings, effective_decision(decisions[message.id]))

    def approved_answers(self) -> Iterator[tuple[Answer, str]]:
        """Approved answers with the text to learn, if they have any and could call no tools."""
        if self.conversation.source == "tools":
            return
        for answer in self.answers():
            found = answer.approval
            if isinstance(found, Approval) and not is_blank(found.text):
                yield answer, found.text


@dataclass(frozen=True)
class Answer:
    """An answer, the latest rating of each rater in the order of writing, and the decision that counts."""

    message: Message
    by_id: Mapping[str | None, Message]  # all messages of the conversation
    ratings: tuple[Rating, ...]
    decision: Decision | None = None

    @property
    def question(self) -> str:
        return self.by_id[self.message.parent_id].text

    @property
    def context(self) -> tuple[Message, ...]:
        """The messages before it, as chat sends them."""
        path = path_to(self.message, self.by_id)
        return tuple(message for message in path[:-1] if message.role is Role.USER or message.text)

    @property
    def approval(self) -> Approval | NotApproved:
        return approval(self.message.text, self.ratings, self.decision, self.message.is_whole)


def path_to(message: Message, by_id: Mapping[str | None, Message]) -> tuple[Message, ...]:
    """From the first message down to this one."""
    path = [message]
    while path[-1].parent_id is not None:
        path.append(by_id[path[-1].parent_id])
    return tuple(reversed(path))


@dataclass(frozen=True)
class ImportedRating:
    """A rating in a file; without a rater it is the importer's, without a time it has the time of the import."""

    verdict: Verdict | None
    reason: str = ""
    comment: str = ""
    correction: str | None = None
    rater: str = ""
    created_at: float | None = None


@dataclass(frozen=True)
class ImportedMessage:
    """A message in a file. `is_context`: an answer that the file gives as context alone, not to be learned."""

    role: Role
    text: str
    created_at: float | None = None
    ratings: tuple[ImportedRating, ...] = ()
    is_context: bool = False
    finish_reason: str | None = None
    is_system: bool = False  # by which a prompt is recognised; left out before the import


def finish_reason_of(row: Mapping[str, Any]) -> str | None:
    """Why the answer ended, under the names that tools give it."""
    names = ("finish_reason", "finishReason", "stop_reason", "done_reason")
    return next((str(row[name]) for name in names if row.get(name)), None)


@dataclass(frozen=True)
class ImportedConversation:
    """Messages in a row. Rows with one `key` and one first question are branches of one conversation."""

    messages: tuple[ImportedMessage, ...]
    key: str = ""  # the file's own id of the conversation, if it has one
    title: str = ""
    others: int = 0  # answers beside these that nobody rated, which are left out

    def check(self) -> None:
        """Raises BadRow when the messages are not questions and answers in turn."""
        if not self.messages:
            raise BadRow("there is no message in it.")
        before: Role | None = None
        for number, message in enumerate(self.messages, start=1):
            if message.role is Role.ASSISTANT and before is not Role.USER:
                raise BadRow(
                    f"message {number} is an answer that follows {'another answer' if before else 'nothing'}. "
                    "An answer has to follow a user's message."
                )
            before = message.role

    @property
    def unrated_count(self) -> int:
        """Answers that count for nothing until somebody rates them."""
        answers = (one for one in self.messages if one.role is Role.ASSISTANT and not one.is_context)
        return sum(not answer.ratings for answer in answers)


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
