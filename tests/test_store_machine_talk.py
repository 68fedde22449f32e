"""People who talk, rate, review, delete and are erased, in any order: the store does what a few dictionaries do.

Longer than in CI:

    python -m pytest tests/test_store_machine_talk.py --hypothesis-profile long
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, invariant, multiple, rule

from store.errors import Conflict, NotFound
from store.records import MessageStatus, Role, Ruling, Verdict
from tests.store_machine import GAME, PATIENCE, StoreMachine

PEOPLE = st.sampled_from(["ann", "bob", "cleo"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
ENDS = st.sampled_from([MessageStatus.COMPLETE, MessageStatus.STOPPED, MessageStatus.FAILED])
RULINGS = st.sampled_from([Ruling.APPROVE, Ruling.REJECT])
FINAL = (MessageStatus.COMPLETE, MessageStatus.STOPPED)


@dataclass
class _Said:
    conversation: str
    parent: str | None
    role: Role
    text: str
    status: MessageStatus
    ratings: list[tuple[str, Verdict | None, str | None]] = field(default_factory=list)
    decisions: list[tuple[str, Ruling]] = field(default_factory=list)  # the last one of each reviewer is kept


class Talk(StoreMachine):
    """Conversations as a tree of messages, with the ratings and decisions about each."""

    conversations = Bundle("conversations")
    messages = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.store.assistants.create("desk", "Desk", "exact")
        self.owners: dict[str, str] = {}
        self.heads: dict[str, str | None] = {}
        self.said: dict[str, _Said] = {}

    @rule(target=conversations, owner=PEOPLE, title=TEXTS)
    def start(self, owner: str, title: str) -> str:
        id = self.store.conversations.create("desk", title, owner=owner).id
        self.owners[id], self.heads[id] = owner, None
        return id

    @rule(target=messages, conversation=conversations, text=TEXTS)
    def ask_first(self, conversation: str, text: str) -> str | object:
        return self._add(conversation, None, Role.USER, text)

    @rule(target=messages, parent=messages, text=TEXTS, streaming=st.booleans())
    def go_on(self, parent: str, text: str, streaming: bool) -> str | object:
        """A question below an answer, an answer below a question."""
        above = self.said.get(parent)
        if above is None:
            with pytest.raises(NotFound):
                self.store.messages.branch(parent)
            return multiple()
        if above.role is Role.ASSISTANT:
            return self._add(above.conversation, parent, Role.USER, text)
        status = MessageStatus.STREAMING if streaming else MessageStatus.COMPLETE
        return self._add(above.conversation, parent, Role.ASSISTANT, text, status)

    def _add(
        self,
        conversation: str,
        parent: str | None,
        role: Role,
        text: str,
        status: MessageStatus = MessageStatus.COMPLETE,
    ) -> str | object:
        if conversation not in self.owners:
            with pytest.raises(NotFound):
                self.store.messages.add(conversation, parent, role, text, status)
            return multiple()
        id = self.store.messages.add(conversation, parent, role, text, status).id
        self.said[id] = _Said(conversation, parent, role, text, status)
        self.heads[conversation] = id
        return id

    @rule(message=messages, text=TEXTS, end=ENDS)
    def finish(self, message: str, text: str, end: MessageStatus) -> None:
        known = self.said.get(message)
        refusal = NotFound if known is None else Conflict if known.status in FINAL else None
        if self.is_done(refusal, self.store.messages.finish, message, text, end):
            known.text, known.status = text, end

    @rule()
    def crash_and_sweep(self) -> None:
        streaming = [one for one in self.said.values() if one.status is MessageStatus.STREAMING]
        assert self.store.messages.end_streaming() == len(streaming)
        for one in streaming:
            one.status = MessageStatus.FAILED

    @rule(message=messages)
    def show(self, message: str) -> None:
        known = self.said.get(message)
        if not self.is_done(None if known else NotFound, self.store.messages.show, message):
            return
        # The newest leaf anywhere below it; the model keeps messages in the order in which they were written.
        inner = {one.parent for one in self.said.values()}
        newest = [id for id in self.said if self._is_below(id, message) and id not in inner][-1]
        self.heads[known.conversation] = newest
        assert self.store.conversations.get(known.conversation).head_id == newest

    def _is_below(self, id: str | None, above: str) -> bool:
        while id is not None and id != above:
            id = self.said[id].parent
        return id == above

    @rule(
        message=messages,
        rater=PEOPLE,
        verdict=st.sampled_from([None, *Verdict]),
        correction=st.none() | TEXTS.filter(str.strip),
    )
    def rate(self, message: str, rater: str, verdict: Verdict | None, correction: str | None) -> None:
        given = (message, rater, verdict, "", "", correction)
        if self.is_done(self._no_answer(message), self.store.ratings.add, *given):
            self.said[message].ratings.append((rater, verdict, correction))

    def _no_answer(self, message: str) -> type[Exception] | None:
        known = self.said.get(message)
        return NotFound if known is None else None if known.role is Role.ASSISTANT else Conflict

    @rule(message=messages, reviewer=PEOPLE, ruling=RULINGS)
    def decide(self, message: str, reviewer: str, ruling: Ruling) -> None:
        if self.is_done(self._no_answer(message), self.store.decisions.add, message, reviewer, ruling):
            self.said[message].decisions.append((reviewer, ruling))

    @rule(message=messages, reviewer=PEOPLE, ruling=RULINGS)
    def decide_and_undo(self, message: str, reviewer: str, ruling: Ruling) -> None:
        """As if it had never been decided, however often: what counted before counts again."""
        if self._no_answer(message):
            return
        before = self._decided(message)
        decision = self.store.decisions.add(message, reviewer, ruling)
        assert self.store.decisions.undo([decision.id]) == [decision] and self._decided(message) == before

    def _decided(self, message: str) -> tuple:
        return self.store.decisions.all(message), self.store.decisions.effective([message])

    @rule(conversation=consumes(conversations))
    def delete(self, conversation: str) -> None:
        refusal = None if conversation in self.owners else NotFound
        if self.is_done(refusal, self.store.conversations.delete, conversation):
            self._forget({conversation})

    @rule(person=PEOPLE)
    def erase(self, person: str) -> None:
        owned = {id for id, owner in self.owners.items() if owner == person}
        named = {name for one in self.said.values() for name, *_ in (*one.ratings, *one.decisions)}
        if not owned and person not in named:
            with pytest.raises(NotFound):
                self.store.erasure.erase(person)
            return
        assert self.store.erasure.erase(person).conversations == len(owned)
        self._forget(owned)
        for one in self.said.values():
            one.ratings = [rating for rating in one.ratings if rating[0] != person]
            one.decisions = [decision for decision in one.decisions if decision[0] != person]

    def _forget(self, conversations: set[str]) -> None:
        for id in conversations:
            del self.owners[id], self.heads[id]
        self.said = {id: one for id, one in self.said.items() if one.conversation not in conversations}

    @invariant()
    def every_rating_is_there_exactly_once(self) -> None:
        for id, one in self.said.items():
            ratings = [(r.rater, r.verdict, r.correction) for r in self.store.ratings.all(id)]
            assert ratings == one.ratings
        latest = self.store.ratings.latest(self.said)
        for id, one in self.said.items():
            last = {rater: (rater, verdict, correction) for rater, verdict, correction in one.ratings}
            found = {r.rater: (r.rater, r.verdict, r.correction) for r in latest.get(id, ())}
            assert found == last

    @invariant()
    def every_conversation_shows_the_way_to_its_head(self) -> None:
        assert {one.id for one in self.store.conversations.all("desk")} == set(self.owners)
        for conversation, head in self.heads.items():
            way: list[tuple[str, str, MessageStatus]] = []
            while head is not None:
                one = self.said[head]
                way.append((head, one.text, one.status))
                head = one.parent
            shown = [(m.id, m.text, m.status) for m in self.store.messages.thread(conversation)]
            assert shown == way[::-1]

    @invariant()
    def the_last_decision_counts(self) -> None:
        effective = self.store.decisions.effective(self.said)
        for id, one in self.said.items():
            expected = one.decisions[-1][1] if one.decisions else None
            found = effective[id].ruling if id in effective else None
            assert found == expected


Talk.TestCase.settings = GAME
TestTalk = Talk.TestCase
pytestmark = PATIENCE
