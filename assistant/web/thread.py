"""What the store knows about a conversation → the transcript, and rating gestures → ratings.

In: one person's conversations, ids and the data of a click. Out: HTML, or one more rating. Place: between the chat page
and the store. Does not know Gradio.
"""

from __future__ import annotations

from collections.abc import Mapping

from assistant.chat import MAX_MESSAGE_CHARACTERS
from assistant.web import transcript
from assistant.web.own import OwnConversations
from assistant.web.transcript import Turn
from store import Store, StoreError
from store.records import Message, Verdict


class EmptyCorrection(Exception):
    """A correction without text; the message says what to do."""


class Threads:
    """One person's conversations as the chat shows them."""

    def __init__(self, store: Store, own: OwnConversations, may_begin: bool = True):
        """`may_begin`: whether this person may make the first assistant."""
        self._store = store
        self._own = own
        self._may_begin = may_begin

    def html(
        self, assistant_id: str | None, conversation_id: str | None, up_to: Message | None = None
    ) -> str:
        """The shown branch, or that of `up_to`; without a conversation, what to do first."""
        try:
            if conversation_id:
                messages = self._own.branch(up_to.id) if up_to else self._own.thread(conversation_id)
                return transcript.transcript(conversation_id, self._turns(conversation_id, messages))
        except StoreError as error:
            return transcript.empty("This conversation is gone", str(error), ())
        if assistant_id is None:
            return transcript.nothing_yet(self._may_begin)
        assistant = self._store.assistants.get(assistant_id)
        text = "Ask something, then rate the answer or correct it: that is what Shorthand learns from."
        return transcript.empty(assistant.name, text, assistant.starters)

    def existing(self, assistant_id: str | None, conversation_id: str | None) -> str | None:
        """The id if it is this person's, with that assistant; the browser may remember a deleted one, or another's."""
        try:
            found = self._own.conversation(conversation_id or "")
        except StoreError:
            return None
        return found.id if found.assistant_id == assistant_id else None

    def rate(self, click: Mapping[str, str]) -> None:
        """One click, one rating; a correction that was made earlier stays with it. Raises StoreError."""
        _bounded(click)
        verdict = Verdict(click["verdict"]) if click.get("verdict") else None
        comment = click.get("comment", "").strip() if verdict is Verdict.DOWN else ""
        latest = self._own.rating(click["id"])
        correction = latest.correction if latest else None
        self._own.rate(click["id"], verdict, click.get("reason", ""), comment, correction)

    def correct(self, click: Mapping[str, str]) -> None:
        """Save or remove a correction; raises StoreError, EmptyCorrection.

        An answer that had to be corrected counts as bad, unless this person rated it up.
        """
        _bounded(click)
        latest = self._own.rating(click["id"])
        verdict = latest.verdict if latest else None
        reason, comment = (latest.reason, latest.comment) if latest else ("", "")
        text = click.get("text", "").strip()
        if click.get("remove"):
            self._own.rate(click["id"], verdict, reason, comment, None)
        elif text:
            self._own.rate(click["id"], verdict or Verdict.DOWN, reason, comment, text)
        else:
            raise EmptyCorrection("The correction is empty. Write the answer as it should have been.")

    def _turns(self, conversation_id: str, messages: list[Message]) -> list[Turn]:
        latest = self._own.ratings_of(messages)
        assistant_id = self._own.conversation(conversation_id).assistant_id
        served = {deployment.id: deployment for deployment in self._store.deployments.all(assistant_id)}
        turns = []
        for message in messages:
            ratings = latest.get(message.id, ())
            mine = [rating for rating in ratings if rating.rater == self._own.owner]
            shown = (mine or list(ratings))[-1] if ratings else None
            versions = tuple(version.id for version in self._store.messages.siblings(message.id))
            count = len(self._store.ratings.all(message.id)) if ratings else 0
            turns.append(Turn(message, versions, shown, count, served.get(message.deployment_id or 0)))
        return turns


def _bounded(click: Mapping[str, str]) -> None:
    """The boxes take no more, but a request may say anything. Raises StoreError."""
    longest = max((len(str(value)) for value in click.values()), default=0)
    if longest > MAX_MESSAGE_CHARACTERS:
        raise StoreError(
            f"The text has {longest:,} characters; at most {MAX_MESSAGE_CHARACTERS:,} fit. Shorten it."
        )
