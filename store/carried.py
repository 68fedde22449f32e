"""What is carried in and out of the store: whole conversations, and the less that most files know of them.

In: nothing. Out: types that `store.formats`, `store.transfer` and the commands share. A format reads rows to
`CarriedConversation`s (or, losslessly, to `WholeConversation`s) and writes `WholeConversation`s as rows. Does not know
files or tables.
"""

from __future__ import annotations

from dataclasses import dataclass

from store.records import Conversation, Decision, Message, Prompt, Proposal, Rating, Role, Split, Verdict


@dataclass(frozen=True)
class WholeConversation:
    """A conversation with all that belongs to it; messages, ratings, decisions and proposals in the order in which they
    were written."""

    conversation: Conversation
    messages: tuple[Message, ...]
    ratings: tuple[Rating, ...] = ()
    split: Split | None = None
    decisions: tuple[Decision, ...] = ()
    proposals: tuple[Proposal, ...] = ()  # decided ones


@dataclass(frozen=True)
class AssistantCard:
    """An assistant as it is taken out: for people to read, since a prompt is written on the page."""

    id: str
    name: str
    scorer: str
    created_at: float
    starters: tuple[str, ...]
    prompts: tuple[Prompt, ...]


@dataclass(frozen=True)
class CarriedRating:
    """A rating as a file tells it; without a rater it is the importer's, without a time it is dated on arrival."""

    verdict: Verdict | None
    reason: str = ""
    comment: str = ""
    correction: str | None = None
    rater: str = ""
    created_at: float | None = None


@dataclass(frozen=True)
class CarriedTurn:
    """A message as a file tells it. `counts` is False where the file says that it is only there as context."""

    role: Role
    text: str
    created_at: float | None = None
    ratings: tuple[CarriedRating, ...] = ()
    counts: bool = True


@dataclass(frozen=True)
class CarriedConversation:
    """Turns in a row. Rows with one `key` and one first question are branches of one conversation."""

    turns: tuple[CarriedTurn, ...]
    key: str = ""  # the file's own id of the conversation, if it has one
    title: str = ""
    without: str = ""  # what of the row is left behind, if anything, such as a system message
