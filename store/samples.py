"""Imported turns → conversations: a sample set of rated examples, loaded in one go.

In: `ImportedTurn`s. Out: conversations with source "sample", their messages and ratings.
Does not know file formats.
"""

from __future__ import annotations

from collections.abc import Iterable

from store.assistants import need_assistant
from store.audit import Deed, record
from store.connection import Transaction
from store.errors import Conflict
from store.part import Part
from store.records import ImportedTurn

_TITLE_CHARACTERS = 60


class Samples(Part):
    def load_conversations(self, assistant_id: str, rows: Iterable[ImportedTurn]) -> int:
        """Load the conversations that are not there yet, all or none; returns how many were new.

        Ids of messages and ratings derive from the conversation's, so the same sample gives the same dataset
        everywhere. Raises NotFound, and Conflict when another assistant has a conversation of that id.
        """
        turns: dict[str, list[ImportedTurn]] = {}
        for turn in rows:
            turns.setdefault(turn.conversation_id, []).append(turn)
        new = 0
        with self._file.writing() as transaction:
            need_assistant(transaction, assistant_id)
            for conversation_id, its_turns in turns.items():
                found = transaction.row(
                    "SELECT assistant_id FROM conversations WHERE id = ?", [conversation_id]
                )
                if found is None:
                    self._load(transaction, assistant_id, conversation_id, its_turns)
                    new += 1
                elif found["assistant_id"] != assistant_id:
                    raise Conflict(
                        f"Conversation {conversation_id!r} belongs to assistant {found['assistant_id']!r}. "
                        f"Nothing was loaded; give {assistant_id!r} conversations ids of their own."
                    )
            if new:
                record(transaction, self._clock(), Deed.IMPORTED, assistant_id, {"conversations": new})
        return new

    def _load(self, transaction: Transaction, assistant_id: str, id: str, turns: list[ImportedTurn]) -> None:
        now = self._clock()
        times = [now if turn.created_at is None else turn.created_at for turn in turns]
        transaction.insert(
            "conversations",
            id=id,
            assistant_id=assistant_id,
            title=" ".join(turns[0].user.split())[:_TITLE_CHARACTERS],
            owner="local",
            source="sample",
            created_at=times[0],
            updated_at=max(times),
        )
        parent = None
        for number, (turn, at) in enumerate(zip(turns, times, strict=True), start=1):
            parent = _load_turn(transaction, turn, number, at, parent)
        transaction.execute("UPDATE conversations SET head_id = ? WHERE id = ?", [parent, id])


def _load_turn(
    transaction: Transaction, turn: ImportedTurn, number: int, at: float, parent: str | None
) -> str:
    prefix = f"{turn.conversation_id}.{number}"
    question, answer = f"{prefix}.user", f"{prefix}.assistant"
    shared = {"conversation_id": turn.conversation_id, "created_at": at, "status": "complete"}
    transaction.insert("messages", id=question, parent_id=parent, role="user", text=turn.user, **shared)
    transaction.insert(
        "messages", id=answer, parent_id=question, role="assistant", text=turn.answer, **shared
    )
    if turn.verdict is not None or turn.correction is not None:
        transaction.insert(
            "ratings",
            id=f"{prefix}.rating",
            message_id=answer,
            rater=turn.rater,
            verdict=turn.verdict,
            reason=turn.reason,
            comment=turn.comment,
            correction=turn.correction,
            created_at=at,
        )
    return answer
