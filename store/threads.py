"""Keeps questions that programs ask with all turns before them, by which their conversation is found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from store.connection import Repository
from store.conversations import Conversations, Messages
from store.records import Message, Role

_LAST_ANSWER = """
    SELECT answer.id, answer.conversation_id FROM messages question
    JOIN messages answer ON answer.conversation_id = question.conversation_id AND answer.parent_id = question.id
    WHERE question.turns_hash = ? AND answer.text = ? AND answer.status <> 'streaming'
    ORDER BY answer.seq DESC LIMIT 1"""

Turns = Sequence[tuple[Role, str]]


class Threads(Repository):
    def ask(self, assistant_id: str, owner: str, turns: Turns, title: str = "") -> Message:
        """Keep the last turn, a question, below the turns before it, and return it.

        Turns that end with an answer that this owner was given go on in that conversation; others become a new one,
        whose earlier answers nobody here gave. Turns begin with a question and take turns. Raises NotFound.
        """
        messages = self._other(Messages)
        with self._file.writing() as transaction:
            before, (_, question) = turns[:-1], turns[-1]
            last = None
            if before:
                values = [_hash(assistant_id, owner, before[:-1]), before[-1][1]]
                last = transaction.row(_LAST_ANSWER, values)
            if last is not None:
                here, parent = last["conversation_id"], last["id"]
            else:
                here, parent = self._other(Conversations).create(assistant_id, title, owner).id, None
                for role, text in before:
                    parent = messages.add(here, parent, role, text).id
            asked = messages.add(here, parent, Role.USER, question)
            change = "UPDATE messages SET turns_hash = ? WHERE id = ?"
            transaction.execute(change, [_hash(assistant_id, owner, turns), asked.id])
            return asked


def _hash(assistant_id: str, owner: str, turns: Turns) -> str:
    text = json.dumps([assistant_id, owner, *([role.value, text] for role, text in turns)])
    return hashlib.sha256(text.encode()).hexdigest()
