"""A whole conversation → its answers: each with the turns before it and what people made of it.

In: `WholeConversation`s. Out: `Answer`s, and which of them are approved. Pure. Place in the flow: what every format
writes that carries answers rather than conversations. Does not know how a row is written, or what approval is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from store.approval import approved_text, correction_of
from store.carried import WholeConversation
from store.decisions import standing
from store.records import Decision, Message, MessageStatus, Rating, Role

FINISHED = (MessageStatus.COMPLETE, MessageStatus.STOPPED)


@dataclass(frozen=True)
class Answer:
    """A finished answer; `context` as chat sends it, `ratings` the latest of each rater in the order of writing,
    `decision` the reviewer's that stands."""

    message: Message
    path: tuple[Message, ...]  # from the first message to this one
    ratings: tuple[Rating, ...]
    decision: Decision | None = None

    @property
    def context(self) -> tuple[Message, ...]:
        return tuple(turn for turn in self.path[:-1] if turn.role is Role.USER or turn.text)

    @property
    def correction(self) -> str | None:
        """What the answer should have been, as a reviewer decided or somebody wrote it last."""
        return correction_of(self.ratings, self.decision)

    @property
    def approved(self) -> str | None:
        """The text to learn, None where people did not approve of any."""
        return approved_text(self.message.text, self.ratings, self.decision)


def answers(whole: WholeConversation) -> Iterator[Answer]:
    """Finished answers in the order in which they were written."""
    by_id = {message.id: message for message in whole.messages}
    latest: dict[str, dict[str, Rating]] = {}
    for rating in whole.ratings:
        of_message = latest.setdefault(rating.message_id, {})
        of_message.pop(rating.rater, None)  # the place in the order is the latest rating's
        of_message[rating.rater] = rating
    decided: dict[str, list[Decision]] = {}
    for decision in whole.decisions:
        decided.setdefault(decision.message_id, []).append(decision)
    for message in whole.messages:
        if message.role is Role.ASSISTANT and message.status in FINISHED:
            ratings = tuple(latest.get(message.id, {}).values())
            yield Answer(message, path(message, by_id), ratings, standing(decided.get(message.id, ())))


def approved(whole: WholeConversation) -> Iterator[tuple[Answer, str]]:
    """Approved answers with the text to learn; those without any text are left out."""
    for answer in answers(whole):
        if answer.approved is not None and answer.approved.strip():
            yield answer, answer.approved


def path(message: Message, by_id: Mapping[str, Message]) -> tuple[Message, ...]:
    """From the first message down to this one."""
    turns = [message]
    while (parent := turns[-1].parent_id) is not None:
        turns.append(by_id[parent])
    return tuple(reversed(turns))
