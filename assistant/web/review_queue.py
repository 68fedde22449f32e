"""A reviewer's gestures → decisions in the store, and what comes next.

A `Sitting` is one browser tab's and is gone with it; decisions are not, so a new one can undo what was decided
before it.
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
from store.reviews import ReviewItem, Show, Wanted

_REMEMBERED = 200  # gestures that can be undone, one after the other
_UNDO_WITHIN_S = 24 * 3600.0  # what an earlier sitting decided; nobody means a stray key for last week's work
_COMPARED = 500  # decided answers, the newest, that others may contradict


class Stale(Exception):
    """What was pressed belongs to what is no longer there; the message says what to do."""


@dataclass(frozen=True)
class Gesture:
    """What was done to these answers at once; a skip has no ruling and made no decisions.

    What was said about a proposal is named by the item's id.
    """

    ruling: Ruling | None
    items: tuple[Ranked, ...]
    decision_ids: tuple[str, ...] = ()


@dataclass
class Sitting:
    """`waiting` begins with the answer that is shown; `full` says that the store may have more than these."""

    assistant_id: str | None = None
    wanted: Wanted = field(default_factory=Wanted)
    waiting: list[Ranked] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    gestures: list[Gesture] = field(default_factory=list)
    full: bool = False
    turn: int = 0  # counts what the page has shown

    @property
    def current(self) -> Ranked | None:
        return self.waiting[0] if self.waiting else None


class ReviewQueue:
    """What one reviewer can do in a sitting. Where the store raises StoreError, the sitting stays as it is."""

    def __init__(self, store: Store, reviewer: str):
        self._store = store
        self._reviewer = reviewer

    def open(self, sitting: Sitting, assistant_id: str | None, wanted: Wanted) -> None:
        """Find the answers anew; those that were skipped come last."""
        if assistant_id != sitting.assistant_id:
            sitting.gestures, sitting.skipped = [], []
        found, full = ([], False) if assistant_id is None else self._found(assistant_id, wanted)
        late = {id: place for place, id in enumerate(sitting.skipped)}
        found.sort(key=lambda one: late.get(one.item.message_id, -1))
        sitting.assistant_id, sitting.wanted = assistant_id, wanted
        sitting.waiting, sitting.full = found, full
        self._settle(sitting)

    def _found(self, assistant_id: str, wanted: Wanted) -> tuple[list[Ranked], bool]:
        """The answers in order, and whether the store may have more than these."""
        proposed = judgement_requests.waiting(self._store, assistant_id)
        if wanted.show is Show.PROPOSED:
            return proposed, False
        listed = self._store.reviews.find(assistant_id, wanted)
        asked = self._store.reviews.newest_questions(assistant_id)
        found = ranked(listed.items, self._decided(assistant_id, wanted), asked)
        if wanted.show is Show.WORTH:
            found = [one for one in found if one.reasons]
        if wanted == Wanted():  # nothing particular is looked for
            found = [*proposed, *found]
        return found, listed.more

    def decide(self, sitting: Sitting, message_id: str, ruling: Ruling, text: str | None = None) -> None:
        """On the answer that is shown. Approving one with a correction approves of the correction. Raises Stale."""
        current = self._shown(sitting, message_id)
        if judgement_requests.is_proposal(message_id):
            judgement_requests.decide(self._store, [message_id], ruling, self._reviewer)
            self._done(sitting, Gesture(ruling, (current,), (message_id,)))
            return
        correction = text if ruling is Ruling.CORRECT else _approved(current.item, ruling)
        decision = self._store.decisions.add(message_id, self._reviewer, ruling, correction)
        self._done(sitting, Gesture(ruling, (current,), (decision.id,)))

    def decide_all(self, sitting: Sitting, ruling: Ruling, count: int) -> None:
        """On everything that the filters found, if that is still as many as the reviewer was told. Raises Stale."""
        decided = self._store.decisions.effective(one.item.message_id for one in sitting.waiting)
        if sitting.wanted.show is not Show.DECIDED:  # what somebody else has decided meanwhile stays as it is
            sitting.waiting = [one for one in sitting.waiting if one.item.message_id not in decided]
        items = tuple(sitting.waiting)
        if len(items) != count:
            raise Stale(
                f"There are {len(items):,} answers now, not {count:,}. Look at the number and press again."
            )
        if sitting.wanted.show is Show.PROPOSED:
            ids = tuple(one.item.message_id for one in items)
            judgement_requests.decide(self._store, ids, ruling, self._reviewer)
            self._done(sitting, Gesture(ruling, items, ids))
            return
        corrections = {one.item.message_id: _approved(one.item, ruling) for one in items}
        try:
            made = self._store.decisions.add_all(self._reviewer, ruling, corrections)
        except NotFound as error:
            self.open(sitting, sitting.assistant_id, sitting.wanted)
            raise Stale("Some of them were deleted meanwhile. Look at the number and press again.") from error
        self._done(sitting, Gesture(ruling, items, tuple(decision.id for decision in made)))

    def skip(self, sitting: Sitting, message_id: str) -> None:
        """Decide later: it goes behind all others. Raises Stale."""
        current = self._shown(sitting, message_id)
        if message_id in sitting.skipped:
            sitting.skipped.remove(message_id)
        sitting.skipped.append(message_id)
        sitting.waiting.append(current)
        self._done(sitting, Gesture(None, (current,)))

    def undo(self, sitting: Sitting) -> Gesture:
        """Take the last gesture back, however many answers it was about, and show the first of them. Raises Stale."""
        gesture = sitting.gestures[-1] if sitting.gestures else self._gesture_before(sitting)
        proposed = [id for id in gesture.decision_ids if judgement_requests.is_proposal(id)]
        if decided := [id for id in gesture.decision_ids if not judgement_requests.is_proposal(id)]:
            self._store.decisions.undo(decided)
        if proposed:
            judgement_requests.take_back(self._store, proposed)
        sitting.gestures = sitting.gestures[:-1]
        ids = {one.item.message_id for one in gesture.items}
        if gesture.ruling is None:
            sitting.skipped = [id for id in sitting.skipped if id not in ids]
        rest = [one for one in sitting.waiting if one.item.message_id not in ids]
        sitting.waiting = [*gesture.items, *rest]
        self._settle(sitting)
        return gesture

    def can_undo(self, sitting: Sitting) -> bool:
        return bool(sitting.gestures) or any(self._decided_before(sitting))

    def _decided_before(self, sitting: Sitting) -> tuple[list[Decision], list[JudgementRequest]]:
        """What this person decided last, in a sitting that is gone: one of the two, whichever was later."""
        if sitting.assistant_id is None:
            return [], []
        since = time.time() - _UNDO_WITHIN_S
        decisions = self._store.decisions.last(sitting.assistant_id, self._reviewer, since)
        proposed = judgement_requests.decided_last(self._store, sitting.assistant_id, self._reviewer, since)
        if decisions and proposed:
            later = (proposed[0].decided_at or 0.0) > decisions[0].created_at
            return ([], proposed) if later else (decisions, [])
        return decisions, proposed

    def _gesture_before(self, sitting: Sitting) -> Gesture:
        """All that was decided at once is one gesture. Raises Stale."""
        decisions, proposed = self._decided_before(sitting)
        if decisions:
            found = self._store.reviews.items([decision.message_id for decision in decisions])
            ids = tuple(decision.id for decision in decisions)
            return Gesture(decisions[0].ruling, tuple(Ranked(item, ()) for item in found), ids)
        if proposed:
            shown = tuple(judgement_requests.items(self._store, proposed))
            ruling = Ruling.APPROVE if proposed[0].accepted else Ruling.REJECT
            return Gesture(ruling, shown, tuple(one.item.message_id for one in shown))
        raise Stale("There is nothing to undo.")

    def following(self, sitting: Sitting) -> Ranked | None:
        """What will be shown next, as it is now, so that the page can have it ready."""
        for one in sitting.waiting[1:]:
            if fresh := self._fresh(sitting, one):
                return fresh
        return None

    def decided_today(self, assistant_id: str) -> int:
        """By this person, since midnight as the clock on this machine says."""
        now = time.localtime()
        midnight = time.mktime((now.tm_year, now.tm_mon, now.tm_mday, 0, 0, 0, 0, 0, -1))
        decided = self._store.decisions.count_since(assistant_id, self._reviewer, midnight)
        return decided + judgement_requests.decided_since(self._store, assistant_id, self._reviewer, midnight)

    def _shown(self, sitting: Sitting, message_id: str) -> Ranked:
        current = sitting.current
        if current is None or current.item.message_id != message_id:
            raise Stale("Another answer is shown by now. Look at it and press again.")
        return current

    def _done(self, sitting: Sitting, gesture: Gesture) -> None:
        sitting.gestures = [*sitting.gestures[-_REMEMBERED:], gesture]
        sitting.waiting = sitting.waiting[len(gesture.items) :]
        with suppress(
            StoreError
        ):  # what was decided is saved; that the next one cannot be read shows at once
            if not sitting.waiting and sitting.full:
                self.open(sitting, sitting.assistant_id, sitting.wanted)
            else:
                self._settle(sitting)

    def _settle(self, sitting: Sitting) -> None:
        """Bring the first one up to date, and leave out what was deleted or decided on elsewhere meanwhile."""
        while sitting.waiting:
            if fresh := self._fresh(sitting, sitting.waiting[0]):
                sitting.waiting[0] = fresh
                break
            del sitting.waiting[0]

    def _fresh(self, sitting: Sitting, one: Ranked) -> Ranked | None:
        if judgement_requests.is_proposal(one.item.message_id):
            return judgement_requests.fresh(self._store, one.item.message_id)
        item = self._store.reviews.item(one.item.message_id)
        if item is None or (item.decision is not None and sitting.wanted.show is not Show.DECIDED):
            return None
        return Ranked(item, one.reasons, one.others)

    def _decided(self, assistant_id: str, wanted: Wanted) -> Sequence[ReviewItem]:
        """The newest ones, which an answer may contradict."""
        if wanted.show is Show.DECIDED:
            return ()
        return self._store.reviews.find(assistant_id, Wanted(Show.DECIDED), _COMPARED).items


def proposed(item: ReviewItem) -> str | None:
    """The correction that an approval is about, None for the answer as given."""
    rejected = item.decision is not None and item.decision.ruling is Ruling.REJECT
    return correction_of(item.ratings, None if rejected else item.decision)


def _approved(item: ReviewItem, ruling: Ruling) -> str | None:
    return proposed(item) if ruling is Ruling.APPROVE else None
