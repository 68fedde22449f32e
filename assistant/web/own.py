"""One person's conversations: all that the chat can see or change of the store's.

In: a person's name, and ids as the browser gave them. Out: what the store has, or NotFound: for somebody else's the
same as for one that never was. Place in the flow: between the chat's pages and the store, which knows no owners. Does
not know Gradio.
"""

from __future__ import annotations

from collections.abc import Iterable

from store import Store
from store.errors import NotFound
from store.records import Conversation, Message, Rating, Verdict


class OwnConversations:
    """Every method raises NotFound for what is another's, before anything else happens."""

    def __init__(self, store: Store, owner: str):
        self._store = store
        self.owner = owner

    def conversation(self, id: str) -> Conversation:
        found = self._store.conversations.get(id)
        if found.owner != self.owner:
            raise NotFound(f"There is no conversation {id!r}.")
        return found

    def message(self, id: str) -> Message:
        found = self._store.messages.get(id)
        if self._store.conversations.get(found.conversation_id).owner != self.owner:
            raise NotFound(f"There is no message {id!r}.")
        return found

    def listed(self, assistant_id: str, source: str | None, search: str | None) -> list[Conversation]:
        """The newest ones; see `Conversations.conversations`."""
        return self._store.conversations.all(assistant_id, self.owner, source, search)

    def thread(self, id: str) -> list[Message]:
        return self._store.messages.thread(self.conversation(id).id)

    def branch(self, message_id: str) -> list[Message]:
        return self._store.messages.branch(self.message(message_id).id)

    def rename(self, id: str, title: str) -> None:
        self._store.conversations.rename(self.conversation(id).id, title)

    def delete(self, id: str) -> None:
        self._store.conversations.delete(self.conversation(id).id)

    def show(self, message_id: str) -> None:
        self._store.messages.show(self.message(message_id).id)

    def rate(
        self,
        message_id: str,
        verdict: Verdict | None,
        reason: str = "",
        comment: str = "",
        correction: str | None = None,
    ) -> Rating:
        return self._store.ratings.add(
            self.message(message_id).id, self.owner, verdict, reason, comment, correction
        )

    def rating(self, message_id: str) -> Rating | None:
        """The latest one that this person gave."""
        ratings = self._store.ratings.latest([self.message(message_id).id]).get(message_id, ())
        return next((rating for rating in ratings if rating.rater == self.owner), None)

    def ratings_of(self, messages: Iterable[Message]) -> dict[str, tuple[Rating, ...]]:
        """The latest one of each rater, by message; of messages that came from here."""
        return self._store.ratings.latest(message.id for message in messages)
