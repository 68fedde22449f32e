"""What a reviewer does becomes decisions in the store, and the next answer is found.

A `ReviewSession` is one browser tab's and is gone with it; decisions are not, so a new one can undo earlier ones.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from assistant.web import judgement_requests
from assistant.web.review_order import Ranked, ranked
from store import Store, StoreError
from store.approval import correction_of
from store.errors import NotFound
from store.records import Decision, JudgementRequest, Ruling
from store.reviews import ReviewFilter, ReviewItem, Show

_REMEMBERED = 200  # actions that can be undone, one after the other
_UNDO_WITHIN_S = 24 * 3600.0  # what an earlier session decided; nobody means a stray key for last week's work
_COMPARED = 500  # decided answers, the newest, that others may contradict


class Stale(Exception):
    """What was pressed belongs to what is no longer there; the message says what to do."""


@dataclass(frozen=True)
class Action:
    """What was done to these answers at once; a skip has no ruling and made no decisions.

    A decision on a judgement request is named by the item's id.
    """

    ruling: Ruling | None
    items: tuple[Ranked, ...]
    decision_ids: tuple[str, ...] = ()


@dataclass
class ReviewSession:
    """`waiting` begins with the answer that is shown; `full` says that the store may have more than these."""

    assistant_id: str | None = None
    wanted: ReviewFilter = field(default_factory=ReviewFilter)
    waiting: list[Ranked] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    full: bool = False
    turn: int = 0  # counts what the page has shown

    @property
    def current(self) -> Ranked | None:
        return self.waiting[0] if self.waiting else None


class ReviewQueue:
    """What one reviewer can do in a session. Where the store raises StoreError, the session stays as it is."""

    def __init__(self, store: Store, reviewer: str):
        self._store = store
        self._reviewer = reviewer

    def open(self, session: ReviewSession, assistant_id: str | None, wanted: ReviewFilter) -> None:
        """Find the answers anew; those that were skipped come last."""
        if assistant_id != session.assistant_id:
            session.actions, session.skipped = [], []
        found, full = ([], False) if assistant_id is None else self._found(assistant_id, wanted)
        late = {id: place for place, id in enumerate(session.skipped)}
        found.sort(key=lambda one: late.get(one.item.message_id, -1))
        session.assistant_id, session.wanted = assistant_id, wanted
        session.waiting, session.full = found, full
        self._settle(session)

    def _found(self, assistant_id: str, wanted: ReviewFilter) -> tuple[list[Ranked], bool]:
        """The answers in order, and whether the store may have more than these."""
        proposed = judgement_requests.waiting(self._store, assistant_id)
        if wanted.show is Show.PROPOSED:
            return proposed, False
        listed = self._store.reviews.find(assistant_id, wanted)
        asked = self._store.reviews.newest_questions(assistant_id)
        found = ranked(listed.items, self._decided(assistant_id, wanted), asked)
        if wanted.show is Show.WORTH:
            found = [one for one in found if one.reasons]
        if wanted == ReviewFilter():  # nothing particular is looked for
            found = [*proposed, *found]
        return found, listed.more

    def decide(
        self, session: ReviewSession, message_id: str, ruling: Ruling, text: str | None = None
    ) -> None:
        """On the answer that is shown. Approving one with a correction approves of the correction. Raises Stale."""
        current = self._shown(session, message_id)
        if judgement_requests.is_judgement_request(message_id):
            judgement_requests.decide(self._store, [message_id], ruling, self._reviewer)
            self._done(session, Action(ruling, (current,), (message_id,)))
            return
        correction = text if ruling is Ruling.CORRECT else _approved(current.item, ruling)
        decision = self._store.decisions.add(message_id, self._reviewer, ruling, correction)
        self._done(session, Action(ruling, (current,), (decision.id,)))

    def decide_all(self, session: ReviewSession, ruling: Ruling, count: int) -> None:
        """On everything that the filters found, if that is still as many as the reviewer was told. Raises Stale."""
        decided = self._store.decisions.effective(one.item.message_id for one in session.waiting)
        if session.wanted.show is not Show.DECIDED:  # what somebody else has decided meanwhile stays as it is
            session.waiting = [one for one in session.waiting if one.item.message_id not in decided]
        items = tuple(session.waiting)
        if len(items) != count:
            raise Stale(
                f"There are {len(items):,} answers now, not {count:,}. Look at the number and press again."
            )
        if session.wanted.show is Show.PROPOSED:
            ids = tuple(one.item.message_id for one in items)
            judgement_requests.decide(self._store, ids, ruling, self._reviewer)
            self._done(session, Action(ruling, items, ids))
            return
        corrections = {one.item.message_id: _approved(one.item, ruling) for one in items}
        try:
            made = self._store.decisions.add_all(self._reviewer, ruling, corrections)
        except NotFound as error:
            self.open(session, session.assistant_id, session.wanted)
            raise Stale("Some of them were deleted meanwhile. Look at the number and press again.") from error
        self._done(session, Action(ruling, items, tuple(decision.id for decision in made)))

    def skip(self, session: ReviewSession, message_id: str) -> None:
        """Decide later: it goes behind all others. Raises Stale."""
        current = self._shown(session, message_id)
        if message_id in session.skipped:
            session.skipped.remove(message_id)
        session.skipped.append(message_id)
        session.waiting.append(current)
        self._done(session, Action(None, (current,)))

    def undo(self, session: ReviewSession) -> Action:
        """Take the last action back, however many answers it was about, and show the first of them. Raises Stale."""
        action = session.actions[-1] if session.actions else self._action_before(session)
        proposed = [id for id in action.decision_ids if judgement_requests.is_judgement_request(id)]
        if decided := [id for id in action.decision_ids if not judgement_requests.is_judgement_request(id)]:
            self._store.decisions.undo(decided)
        if proposed:
            judgement_requests.take_back(self._store, proposed)
        session.actions = session.actions[:-1]
        ids = {one.item.message_id for one in action.items}
        if action.ruling is None:
            session.skipped = [id for id in session.skipped if id not in ids]
        rest = [one for one in session.waiting if one.item.message_id not in ids]
        session.waiting = [*action.items, *rest]
        self._settle(session)
        return action

    def can_undo(self, session: ReviewSession) -> bool:
        return bool(session.actions) or any(self._decided_before(session))

    def _decided_before(self, session: ReviewSession) -> tuple[list[Decision], list[JudgementRequest]]:
        """What this person decided last, in a session that is gone: one of the two, whichever was later."""
        if session.assistant_id is None:
            return [], []
        since = time.time() - _UNDO_WITHIN_S
        decisions = self._store.decisions.last(session.assistant_id, self._reviewer, since)
        proposed = judgement_requests.decided_last(self._store, session.assistant_id, self._reviewer, since)
        if decisions and proposed:
            later = (proposed[0].decided_at or 0.0) > decisions[0].created_at
            return ([], proposed) if later else (decisions, [])
        return decisions, proposed

    def _action_before(self, session: ReviewSession) -> Action:
        """All that was decided at once is one action. Raises Stale."""
        decisions, proposed = self._decided_before(session)
        if decisions:
            found = self._store.reviews.items([decision.message_id for decision in decisions])
            ids = tuple(decision.id for decision in decisions)
            return Action(decisions[0].ruling, tuple(Ranked(item, ()) for item in found), ids)
        if proposed:
            shown = tuple(judgement_requests.items(self._store, proposed))
            ruling = Ruling.APPROVE if proposed[0].accepted else Ruling.REJECT
            return Action(ruling, shown, tuple(one.item.message_id for one in shown))
        raise Stale("There is nothing to undo.")

    def following(self, session: ReviewSession) -> Ranked | None:
        """What will be shown next, as it is now, so that the page can have it ready."""
        for one in session.waiting[1:]:
            if fresh := self._fresh(session, one):
                return fresh
        return None

    def decided_today(self, assistant_id: str) -> int:
        """By this person, since midnight as the clock on this machine says."""
        now = time.localtime()
        midnight = time.mktime((now.tm_year, now.tm_mon, now.tm_mday, 0, 0, 0, 0, 0, -1))
        decided = self._store.decisions.count_since(assistant_id, self._reviewer, midnight)
        return decided + judgement_requests.decided_since(self._store, assistant_id, self._reviewer, midnight)

    def _shown(self, session: ReviewSession, message_id: str) -> Ranked:
        current = session.current
        if current is None or current.item.message_id != message_id:
            raise Stale("Another answer is shown by now. Look at it and press again.")
        return current

    def _done(self, session: ReviewSession, action: Action) -> None:
        session.actions = [*session.actions[-_REMEMBERED:], action]
        session.waiting = session.waiting[len(action.items) :]
        with suppress(
            StoreError
        ):  # what was decided is saved; that the next one cannot be read shows at once
            if not session.waiting and session.full:
                self.open(session, session.assistant_id, session.wanted)
            else:
                self._settle(session)

    def _settle(self, session: ReviewSession) -> None:
        """Bring the first one up to date, and leave out what was deleted or decided on elsewhere meanwhile."""
        while session.waiting:
            if fresh := self._fresh(session, session.waiting[0]):
                session.waiting[0] = fresh
                break
            del session.waiting[0]

    def _fresh(self, session: ReviewSession, one: Ranked) -> Ranked | None:
        if judgement_requests.is_judgement_request(one.item.message_id):
            return judgement_requests.fresh(self._store, one.item.message_id)
        item = self._store.reviews.item(one.item.message_id)
        if item is None or (item.decision is not None and session.wanted.show is not Show.DECIDED):
            return None
        return Ranked(item, one.reasons, one.others)

    def _decided(self, assistant_id: str, wanted: ReviewFilter) -> Sequence[ReviewItem]:
        """The newest ones, which an answer may contradict."""
        if wanted.show is Show.DECIDED:
            return ()
        return self._store.reviews.find(assistant_id, ReviewFilter(Show.DECIDED), _COMPARED).items


def shown_correction(item: ReviewItem) -> str | None:
    """The correction that an approval is about, None for the answer as given."""
    rejected = item.decision is not None and item.decision.ruling is Ruling.REJECT
    return correction_of(item.ratings, None if rejected else item.decision)


def _approved(item: ReviewItem, ruling: Ruling) -> str | None:
    return shown_correction(item) if ruling is Ruling.APPROVE else None
