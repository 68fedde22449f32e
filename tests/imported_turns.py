"""Conversations whose ids a test knows: “c.1.assistant” is the first answer of conversation “c”."""

from collections.abc import Iterable
from dataclasses import dataclass

from store import Store
from store.io.records import FullConversation
from store.records import Conversation, Message, Rating, Role, Verdict


@dataclass(frozen=True)
class ImportedTurn:
    """A question, its answer and at most one rating."""

    conversation_id: str
    user: str
    answer: str
    verdict: Verdict | None = None
    reason: str = ""
    comment: str = ""
    correction: str | None = None
    rater: str = "sample"
    created_at: float | None = None


def load_turns(store: Store, assistant_id: str, turns: Iterable[ImportedTurn]) -> int:
    """Import them, each at its time or now; returns how many conversations were new."""
    by_id: dict[str, list[ImportedTurn]] = {}
    for turn in turns:
        by_id.setdefault(turn.conversation_id, []).append(turn)
    now = store.assistants._clock()
    full = [_conversation(id, assistant_id, some, now) for id, some in by_id.items()]
    counts, refused = store.transfer.add(assistant_id, full)
    assert not refused, refused
    return counts["conversations"]


def _conversation(id: str, assistant_id: str, turns: list[ImportedTurn], now: float) -> FullConversation:
    messages: list[Message] = []
    ratings: list[Rating] = []
    answer = None
    for number, turn in enumerate(turns, start=1):
        at = now if turn.created_at is None else turn.created_at
        question, before, answer = f"{id}.{number}.user", answer, f"{id}.{number}.assistant"
        messages.append(Message(question, id, before, Role.USER, turn.user, at))
        messages.append(Message(answer, id, question, Role.ASSISTANT, turn.answer, at))
        if turn.verdict is not None or turn.correction is not None:
            texts = (turn.reason, turn.comment, turn.correction)
            ratings.append(Rating(f"{id}.{number}.rating", answer, turn.rater, turn.verdict, at, *texts))
    begun, changed = messages[0].created_at, max(message.created_at for message in messages)
    conversation = Conversation(
        id, assistant_id, turns[0].user[:60], begun, changed, source="import", head_id=answer
    )
    return FullConversation(conversation, tuple(messages), tuple(ratings))
