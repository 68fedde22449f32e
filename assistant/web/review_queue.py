"""What a reviewer does becomes decisions in the store, and the next answer is found.

A `ReviewSession` is one browser tab's and is gone with it; decisions are not, and are found as reviewed. The answers to
one question that the gate asks about are one card, in an order that says nothing about who gave them.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256

from assistant.web.access import Refused
from assistant.web.review_order import Ranked, ReviewReason, ranked
from store import Store, StoreError
from store.errors import NotFound
from store.outdated import outdated_answers
from store.ratings import approved_text, correction_of
from store.records import JudgementRequest, MessageStatus, Ruling
from store.reviews import ReviewFilter, ReviewItem, ReviewKind
from store.visible import is_blank

_REMEMBERED = 200  # actions that can be undone, one after the other
_COMPARED = 500  # decided answers, the newest, that others may contradict


@dataclass(frozen=True)
class Action:
    """What was done to these answers at once, with the ids of what was saved; a skip has none."""

    items: tuple[Ranked, ...]
    decisions: tuple[str, ...] = ()
    requests: tuple[int, ...] = ()


@dataclass
class ReviewSession:
    """What one tab shows: `waiting` begins with the answer that is shown; `full` says that the store may have more."""

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

    @property
    def at_once(self) -> int:
        """How many can be decided at once: all, but none where somebody has to tell answers apart."""
        return 0 if any(len(one.asked) > 1 for one in self.waiting) else len(self.waiting)


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
        found.sort(key=lambda one: late.get(one.id, -1))
        session.assistant_id, session.wanted = assistant_id, wanted
        session.waiting, session.full = found, full
        self._settle(session)

    def _found(self, assistant_id: str, wanted: ReviewFilter) -> tuple[list[Ranked], bool]:
        """The answers in order, and whether the store may have more than these."""
        requests = self._cards(self._store.judgement_requests.open(assistant_id))
        if wanted.show is ReviewKind.PROPOSED:
            return requests, False
        reviews, decided = self._store.reviews, ReviewKind.DECIDED
        (items, more), compared = reviews.find(assistant_id, wanted), list[ReviewItem]()
        if wanted.show is not decided:
            compared, _ = reviews.find(assistant_id, ReviewFilter(decided), _COMPARED)
        found = ranked(items, compared, reviews.newest_questions(assistant_id))
        if wanted.show is ReviewKind.WORTH:
            found = [one for one in found if one.reasons]
        if wanted == ReviewFilter():  # nothing particular is looked for
            outdated = [one.message_id for one in outdated_answers(self._store, assistant_id)]
            first = [Ranked(item, (ReviewReason.OUTDATED,)) for item in reviews.items(outdated)]
            listed = {one.id for one in first}
            found = [*requests, *first, *(one for one in found if one.id not in listed)]
        return found, more

    def decide(self, session: ReviewSession, id: str, ruling: Ruling, text: str | None = None) -> None:
        """On the answer that is shown, or on all of a card. Approving one with a correction approves of that.

        Raises Refused.
        """
        shown = self._shown(session, id)
        if ruling is Ruling.APPROVE and not shown.item.is_whole and shown_correction(shown.item) is None:
            raise Refused("This answer was cut off before its end. Correct it: write the whole answer.")
        if text is not None and is_blank(text):
            raise Refused("The correction is empty. Write the answer as it should have been.")
        self._save(session, (shown,), ruling, text and text.strip())

    def choose(self, session: ReviewSession, id: str, number: int) -> None:
        """Of the answers that the card asks about, only this one is right; the first is 1. Raises Refused."""
        shown = self._shown(session, id)
        if not 1 <= number <= len(shown.asked):
            raise Refused(f"There is no answer {number}. Press one of the numbers that are shown.")
        requests = tuple(one.id for one in shown.asked)
        self._store.judgement_requests.choose(requests, [requests[number - 1]], self._reviewer)
        self._done(session, Action((shown,), requests=requests))

    def decide_all(self, session: ReviewSession, ruling: Ruling, count: int) -> None:
        """On everything that the filters found, if that is still `count` answers. Raises Refused."""
        if session.wanted.show is ReviewKind.PROPOSED:
            self.open(session, session.assistant_id, session.wanted)
        elif session.wanted.show is not ReviewKind.DECIDED:
            # What somebody else has decided meanwhile stays as it is.
            decided = self._store.decisions.effective(one.id for one in session.waiting)
            session.waiting = [one for one in session.waiting if one.id not in decided]
        if session.at_once != count:
            raise Refused(
                f"There are {session.at_once:,} answers now, not {count:,}. Look at the number and press again."
            )
        try:
            self._save(session, tuple(session.waiting), ruling)
        except NotFound as error:
            self.open(session, session.assistant_id, session.wanted)
            text = "Some of them were deleted meanwhile. Look at the number and press again."
            raise Refused(text) from error

    def _save(
        self, session: ReviewSession, items: tuple[Ranked, ...], ruling: Ruling, text: str | None = None
    ) -> None:
        approved = ruling is Ruling.APPROVE
        requests = tuple(request.id for one in items for request in one.asked)
        corrections = {
            one.id: shown_correction(one.item) if approved else text for one in items if not one.asked
        }
        if requests:
            right = requests if approved else ()
            self._store.judgement_requests.choose(requests, right, self._reviewer)
        made = self._store.decisions.add_all(self._reviewer, ruling, corrections) if corrections else []
        self._done(session, Action(items, tuple(decision.id for decision in made), requests))

    def skip(self, session: ReviewSession, id: str) -> None:
        """Decide later: it goes behind all others. Raises Refused."""
        current = self._shown(session, id)
        session.skipped = [*(one for one in session.skipped if one != id), id]
        session.waiting.append(current)
        self._done(session, Action((current,)))

    def undo(self, session: ReviewSession) -> None:
        """Take the last action back, however many answers it was about, and show the first of them. Raises Refused."""
        if not session.actions:
            raise Refused("There is nothing to undo.")
        action = session.actions[-1]
        if action.decisions:
            self._store.decisions.undo(action.decisions)
        if requests := self._still_decided(action):
            self._store.judgement_requests.choose(requests, None, "")
        session.actions = session.actions[:-1]
        ids = {one.id for one in action.items}
        if not (action.decisions or action.requests):
            session.skipped = [id for id in session.skipped if id not in ids]
        session.waiting = [*action.items, *(one for one in session.waiting if one.id not in ids)]
        self._settle(session)

    def _still_decided(self, action: Action) -> list[int]:
        """Those of the action's requests whose question was not deleted, and that nobody else has decided since."""
        of_message = self._store.judgement_requests.of_message
        found = [request for one in action.items if one.asked for request in of_message(one.item.message_id)]
        return [one.id for one in found if one.id in action.requests and one.decided_by == self._reviewer]

    def following(self, session: ReviewSession) -> Ranked | None:
        """What will be shown next, as it is now, so that the page can have it ready."""
        return next(filter(None, (self._fresh(session, one) for one in session.waiting[1:])), None)

    def decided_today(self, assistant_id: str) -> int:
        """By this person, since midnight as the clock on this machine says; a card with several answers counts once."""
        midnight = time.mktime((*time.localtime()[:3], 0, 0, 0, 0, 0, -1))
        cards = {
            (one.message_id, one.decided_at)
            for one in self._store.judgement_requests.decided(assistant_id)
            if one.decided_by == self._reviewer and (one.decided_at or 0.0) >= midnight
        }
        return self._store.decisions.count_since(assistant_id, self._reviewer, midnight) + len(cards)

    def _shown(self, session: ReviewSession, id: str) -> Ranked:
        shown = session.current
        if shown is not None and shown.asked:
            self._settle(session)  # somebody else may have decided on some of its answers, which are numbered
        current = session.current
        if shown is None or current is None or (current.id, current.asked) != (id, shown.asked):
            raise Refused("What is shown has changed. Look at it and press again.")
        return current

    def _done(self, session: ReviewSession, action: Action) -> None:
        session.actions = [*session.actions[-_REMEMBERED:], action]
        session.waiting = session.waiting[len(action.items) :]
        with suppress(StoreError):  # it is saved; that the next one cannot be read shows at once
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
        if one.asked:
            requests = self._store.judgement_requests.of_message(one.item.message_id)
            return next(iter(self._cards([one for one in requests if one.accepted is None])), None)
        item = self._store.reviews.item(one.id)
        if item is None:
            return None
        if item.decision is not None and session.wanted.show is not ReviewKind.DECIDED:
            # What was decided before the prompt was changed is to be decided again.
            if ReviewReason.OUTDATED not in one.reasons:
                return None
            if item.decision.created_at >= self._store.prompts.latest(session.assistant_id or "").created_at:
                return None
        return Ranked(item, one.reasons, one.others)

    def _cards(self, requests: Iterable[JudgementRequest]) -> list[Ranked]:
        """One for every message that is asked about; without those whose conversation was deleted."""
        asked: dict[str, list[JudgementRequest]] = {}
        for one in requests:
            asked.setdefault(one.message_id, []).append(one)
        return [_card(item, asked[item.message_id]) for item in self._store.reviews.items(list(asked))]


def _card(given: ReviewItem, asked: Sequence[JudgementRequest]) -> Ranked:
    """Nothing on it says which answer was served, and what people said about that."""
    approved = approved_text(given.answer, given.ratings, given.decision, given.is_whole)
    item = replace(given, at=asked[0].created_at, ratings=(), decision=None)
    item = replace(item, status=MessageStatus.COMPLETE, finish_reason=None)
    # By the message too, or else one of two labels would always come first.
    blind = sorted(asked, key=lambda one: sha256(f"{one.message_id}\n{one.text}".encode()).digest())
    return Ranked(item, (ReviewReason.JUDGEMENT,), () if approved is None else (approved,), tuple(blind))


def shown_correction(item: ReviewItem) -> str | None:
    """The correction that an approval is about, None for the answer as given."""
    rejected = item.decision is not None and item.decision.ruling is Ruling.REJECT
    return correction_of(item.ratings, None if rejected else item.decision)
