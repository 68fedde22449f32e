"""Openings: a conversation and its first message, together.

In: what somebody sends to an assistant. Out: the message, in a conversation of its own. Does not know who answers.
"""

from __future__ import annotations

from store.conversations import Conversations
from store.messages import Messages
from store.records import Message, Role


class Conversations(Conversations, Messages):
    def open_conversation(
        self, assistant_id: str, text: str, title: str = "", owner: str = "local"
    ) -> Message:
        """Start one with a first message of a person; neither is there without the other. Raises NotFound."""
        with self._file.writing():
            conversation = self.create_conversation(assistant_id, title, owner)
            return self.add_message(conversation.id, None, Role.USER, text)
