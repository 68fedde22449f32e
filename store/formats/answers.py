"""A whole conversation → its answers: each with the turns before it and what people made of it.

In: `WholeConversation`s. Out: `Answer`s, and which of them are approved. Pure. Place in the flow: what every format
writes that carries answers rather than conversations. Does not know how a row is written.

The rule of approval is the trainer's (`trainer.selection.judge`; a test holds the two together): the latest
correction, or an answer rated up that nobody rated down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from store.carried import WholeConversation
from store.records import Message, MessageStatus, Rating, Role, Verdict

FINISHED = (MessageStatus.COMPLETE, MessageStatus.STOPPED)


@dataclass(frozen=True)
class Answer:
    """A finished answer; `context` as chat sends it, `ratings` the latest of each rater in the order of writing."""

    message: Message
    path: tuple[Message, ...]  # from the first message to this one
    ratings: tuple[Rating, ...]

    @property
    def context(self) -> tuple[Message, ...]:
        return tuple(turn for turn in self.path[:-1] if turn.role is Role.USER or turn.text)

    @property
    def correction(self) -> str | None:
        """What the answer should have been, as somebody wrote it last."""
        corrected = [rating for rating in self.ratings if rating.correction is not None]
        return max(corrected, key=_when).correction if corrected else None

    @property
    def approved(self) -> str | None:
        """The text to learn, None where people did not approve of any."""
        if self.correction is not None:
            return self.correction
        verdicts = {rating.verdict for rating in self.ratings if rating.verdict is not None}
        return self.message.text if verdicts == {Verdict.UP} else None


def answers(whole: WholeConversation) -> Iterator[Answer]:
    """Finished answers in the order in which they were written."""
    by_id = {message.id: message for message in whole.messages}
    latest: dict[str, dict[str, Rating]] = {}
    for rating in whole.ratings:
        of_message = latest.setdefault(rating.message_id, {})
        of_message.pop(rating.rater, None)  # the place in the order is the latest rating's
        of_message[rating.rater] = rating
    for message in whole.messages:
        if message.role is Role.ASSISTANT and message.status in FINISHED:
            yield Answer(message, path(message, by_id), tuple(latest.get(message.id, {}).values()))


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


def _when(rating: Rating) -> tuple[float, str]:
    return rating.created_at, rating.id
