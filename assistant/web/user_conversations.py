"""One person's conversations: all that the chat can see or change of the store's."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from assistant.limits import MAX_MESSAGE_CHARACTERS
from store import Store
from store.demonstrations import Demonstration
from store.errors import NotFound, StoreError
from store.ratings import corrected
from store.records import Conversation, Deployment, Message, MessageStatus, Rating, Role, Verdict
from store.visible import is_blank

_ALL = 10**9
_RECENT_S = 86400.0  # a swap is news for a day


@dataclass(frozen=True)
class Turn:
    """A message and what belongs to it: the ids of its versions, oldest first, this person's rating, how many ratings
    it has, and the demonstrations that were sent along and still are some.
    """

    message: Message
    versions: tuple[str, ...] = ()
    rating: Rating | None = None
    ratings: int = 0
    served: Deployment | None = None
    used: tuple[Demonstration, ...] = ()


class UserConversations:
    """Every method raises NotFound for what is another's, as for what never was, before anything else happens."""

    def __init__(self, store: Store, owner: str):
        self._store = store
        self._owner = owner

    def conversation(self, id: str) -> Conversation:
        found = self._store.conversations.get(id)
        if found.owner != self._owner:
            raise NotFound(f"There is no conversation {id!r}.")
        return found

    def message(self, id: str) -> Message:
        found = self._store.messages.get(id)
        if self._store.conversations.get(found.conversation_id).owner != self._owner:
            raise NotFound(f"There is no message {id!r}.")
        return found

    def assistant(self, conversation_id: str | None) -> str | None:
        """Whom this person talks to: the conversation's assistant, without one the newest, None where there is none."""
        with suppress(NotFound):
            return self.conversation(conversation_id or "").assistant_id
        return next((one.id for one in reversed(self._store.assistants.all())), None)

    def newest(
        self, assistant_id: str, source: str | None, search: str | None, most: int
    ) -> list[Conversation]:
        """Last changed first."""
        return self._store.conversations.all(assistant_id, self._owner, source, search, most)

    def all(self) -> list[Conversation]:
        """What this person has chatted with every assistant."""
        assistants = self._store.assistants.all()
        return [talk for one in assistants for talk in self.newest(one.id, "chat", None, _ALL)]

    def rename(self, id: str, title: str) -> None:
        self._store.conversations.rename(self.conversation(id).id, title)

    def delete(self, id: str) -> None:
        self._store.conversations.delete(self.conversation(id).id)

    def show(self, message_id: str) -> None:
        """The branch with this message is the one that is shown from now on."""
        self._store.messages.show(self.message(message_id).id)

    def turns(self, conversation_id: str, up_to: Message | None = None) -> list[Turn]:
        """The shown branch, or that of `up_to`, in seven queries however long it is, of one state of the store."""
        store = self._store
        with store.reading():
            conversation = self.conversation(conversation_id)
            messages = store.messages.branch(up_to.id) if up_to else store.messages.thread(conversation.id)
            ids = [message.id for message in messages]
            versions = store.messages.versions(conversation.id)
            latest, counts = store.ratings.latest(ids), store.ratings.counts(ids)
            served = {one.id: one for one in store.deployments.all(conversation.assistant_id)}
            sent = {message.id: message.usage.demonstrations for message in messages if message.usage}
            used = store.demonstrations.of_messages({id for some in sent.values() for id in some})
        return [
            Turn(
                message,
                versions[message.id],
                self._shown(latest.get(message.id, ())),
                counts.get(message.id, 0),
                served.get(message.deployment_id or 0),
                tuple(used[id] for id in sent.get(message.id, ()) if id in used),
            )
            for message in messages
        ]

    def _shown(self, ratings: tuple[Rating, ...]) -> Rating | None:
        """This person's latest, or of an imported answer anybody's."""
        mine = [rating for rating in ratings if rating.rater == self._owner]
        return (mine or list(ratings))[-1] if ratings else None

    def swap(self, conversation_id: str | None) -> dict[str, Any] | None:
        """The last answer as it was before a recent swap and, once it was asked again, as it is now.

        None where nothing shorter was swapped in lately, or the last answer has no version from before.
        """
        conversation = self.conversation(conversation_id) if conversation_id else None
        active = self._store.deployments.active(conversation.assistant_id) if conversation else None
        if conversation is None or active is None or not (active.adapter or active.variant):
            return None
        if time.time() - (active.activated_at or 0.0) > _RECENT_S:
            return None
        last = [turn for turn in self.turns(conversation.id)[-1:] if turn.message.role is Role.ASSISTANT]
        versions = [self.message(id) for turn in last for id in turn.versions]
        whole = [one for one in versions if one.status is MessageStatus.COMPLETE]
        new = [one for one in whole if one.deployment_id == active.id]
        old = [one for one in whole if one.deployment_id not in (None, active.id)]
        if not old:
            return None
        before = self._store.deployments.get(old[-1].deployment_id or 0)
        return {"active": active, "before": before, "old": old[-1], "new": new[-1] if new else None}

    def rate(self, click: Mapping[str, str]) -> None:
        """A `verdict`, a correction as `text`, or `remove` for none; what the click does not say stays as it was.

        Raises StoreError also for a text that no box lets through.
        """
        longest = max((len(str(value)) for value in click.values()), default=0)
        if longest > MAX_MESSAGE_CHARACTERS:
            raise StoreError(
                f"The text has {longest:,} characters; at most {MAX_MESSAGE_CHARACTERS:,} fit. Shorten it."
            )
        id = self.message(click["id"]).id
        self._store.ratings.change(id, self._owner, lambda before: _rated(before, click))


def _rated(before: Rating, click: Mapping[str, str]) -> Rating:
    if "verdict" in click:
        verdict = Verdict(click["verdict"]) if click["verdict"] else None
        comment = click.get("comment", "").strip() if verdict is Verdict.DOWN else ""
        return replace(before, verdict=verdict, reason=click.get("reason", ""), comment=comment)
    if click.get("remove"):
        return replace(before, correction=None)
    if is_blank(text := click.get("text", "").strip()):
        raise StoreError("The correction is empty. Write the answer as it should have been.")
    return corrected(before, text)
