"""What a file tells of a conversation → a conversation as the store keeps it, under the same ids every time.

In: `CarriedConversation`s and the importer's terms. Out: `WholeConversation`s. Pure. Place in the flow: between the
formats and `transfer`. Does not know file formats, or what is in the store already.

Ids derive from what is said and from the assistant, never from the file or the clock: the same file brought in twice
finds its own messages. A message's id covers all that was said before it, so rows that begin alike and belong to one
conversation share those messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

from store.carried import CarriedConversation, CarriedRating, CarriedTurn, WholeConversation
from store.errors import BadRow
from store.records import Conversation, Message, Rating, Role, Verdict

_TITLE_CHARACTERS = 60
_ARRIVED = re.compile(r"import-[0-9a-f]{20}")
# Digits of a conversation's id, of which millions are few, and of a message's within its conversation and a rating's
# within its message, of which thousands are few. All of them are in several indexes: every digit costs time and space.
_LONG, _SHORT = 20, 10


@dataclass(frozen=True)
class Terms:
    """What the importer decides: for whom, who rated where the file does not say, and what unrated answers mean."""

    assistant_id: str
    rater: str
    approve: bool  # an answer without any rating counts as rated up by `rater`
    at: float  # the time of what has none


def arrive(carried: CarriedConversation, terms: Terms) -> WholeConversation:
    """Raises BadRow when the turns do not follow each other as questions and answers do."""
    turns = carried.turns
    _check(turns)
    id = _conversation_id(carried, terms.assistant_id)
    messages: list[Message] = []
    ratings: list[Rating] = []
    at, parent, said = terms.at, None, b""
    for turn in turns:
        at = turn.created_at if turn.created_at is not None else at
        said = _digest(said, turn.role, turn.text)
        message = Message(f"{id}.{said.hex()[:_SHORT]}", id, parent, turn.role, turn.text, at)
        messages.append(message)
        parent = message.id
        if turn.role is Role.ASSISTANT:
            ratings += _ratings(turn, message, terms)
    conversation = Conversation(
        id=id,
        assistant_id=terms.assistant_id,
        title=carried.title or " ".join(turns[0].text.split())[:_TITLE_CHARACTERS],
        created_at=messages[0].created_at,
        updated_at=max(message.created_at for message in messages),
        source="import",
        head_id=parent,
    )
    return WholeConversation(conversation, tuple(messages), tuple(ratings))


def _check(turns: tuple[CarriedTurn, ...]) -> None:
    if not turns:
        raise BadRow("there is no message in it.")
    before: Role | None = None
    for number, turn in enumerate(turns, start=1):
        if turn.role is Role.ASSISTANT and before is not Role.USER:
            raise BadRow(
                f"message {number} is an answer that follows "
                f"{'nothing' if before is None else 'another answer'}. An answer has to follow a user's message."
            )
        if "\x00" in turn.text:
            raise BadRow(
                f"message {number} has a NUL character at position {turn.text.index(chr(0))}. Remove it."
            )
        before = turn.role


def _conversation_id(carried: CarriedConversation, assistant_id: str) -> str:
    if _ARRIVED.fullmatch(carried.key):
        return carried.key  # exported after an import: the same conversation, here or elsewhere
    # "1" is an id in many files, so the first question is part of what makes a conversation the same.
    said = carried.turns[:1] if carried.key else carried.turns
    parts = [part for turn in said for part in (turn.role, turn.text)]
    return f"import-{_digest(b'', assistant_id, carried.key, *parts).hex()[:_LONG]}"


def _ratings(turn: CarriedTurn, message: Message, terms: Terms) -> Iterator[Rating]:
    given = turn.ratings
    if not given and terms.approve and turn.counts:
        given = (CarriedRating(Verdict.UP),)
    for rating in given:
        rater = rating.rater or terms.rater
        told = (
            rater,
            rating.verdict or "",
            rating.reason,
            rating.comment,
            "" if rating.correction is None else f"={rating.correction}",
            "" if rating.created_at is None else repr(rating.created_at),
        )
        if "\x00" in "".join(told):
            raise BadRow(
                "a rating has a NUL character in its rater, reason, comment or correction. Remove it."
            )
        yield Rating(
            id=f"{message.id}.{_digest(b'', *told).hex()[:_SHORT]}",
            message_id=message.id,
            rater=rater,
            verdict=rating.verdict,
            created_at=terms.at if rating.created_at is None else rating.created_at,
            reason=rating.reason,
            comment=rating.comment,
            correction=rating.correction,
        )


def _digest(before: bytes, *parts: str) -> bytes:
    # NUL separates the parts, since no text that is taken in can hold one.
    return blake2b(before + "\x00".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()
