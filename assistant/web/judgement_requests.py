"""Answers of a refused candidate → items of the review queue, and a reviewer's word on one back into the store.

An item's id is the proposal's with a prefix, so that it is never taken for a message's.
"""

from __future__ import annotations

from collections.abc import Sequence

from assistant.web.review_order import Ranked, Why
from store import Store
from store.approval import approved_text
from store.errors import NotFound
from store.records import JudgementRequest, Message, Ruling
from store.reviews import ReviewItem

_PREFIX = "proposal:"


def is_proposal(item_id: str) -> bool:
    return item_id.startswith(_PREFIX)


def waiting(store: Store, assistant_id: str) -> list[Ranked]:
    """What nobody has decided, the oldest first."""
    return items(store, store.judgement_requests.open(assistant_id))


def fresh(store: Store, item_id: str) -> Ranked | None:
    """The item as it is now; None once somebody has decided, or its conversation was deleted."""
    try:
        judgement_request = store.judgement_requests.get(_number(item_id))
    except NotFound:
        return None
    return _item(store, judgement_request) if judgement_request.accepted is None else None


def decide(store: Store, item_ids: Sequence[str], ruling: Ruling, reviewer: str) -> None:
    """On all of them at once. Raises NotFound, StoreError."""
    store.judgement_requests.decide_all([_number(id) for id in item_ids], ruling is Ruling.APPROVE, reviewer)


def take_back(store: Store, item_ids: Sequence[str]) -> None:
    """Raises NotFound, StoreError."""
    store.judgement_requests.decide_all([_number(id) for id in item_ids], None, "")


def decided_last(store: Store, assistant_id: str, reviewer: str, since: float) -> list[JudgementRequest]:
    """What this reviewer decided last and at once, since then (UTC seconds); without what a file brought."""
    decided = store.judgement_requests.last_decided(assistant_id, reviewer, since)
    return [one for one in decided if one.run_id is not None]


def items(store: Store, judgement_requests: Sequence[JudgementRequest]) -> list[Ranked]:
    """Without those whose conversation was deleted."""
    found = (_item(store, one) for one in judgement_requests)
    return [one for one in found if one is not None]


def decided_since(store: Store, assistant_id: str, reviewer: str, at: float) -> int:
    """How many this reviewer has decided, since `at` (UTC seconds)."""
    decided = store.judgement_requests.decided(assistant_id)
    return sum(one.decided_by == reviewer and (one.decided_at or 0.0) >= at for one in decided)


def branch(store: Store, item_id: str) -> list[Message]:
    """The turns down to the answer that was given then. Raises NotFound."""
    return store.messages.branch(store.judgement_requests.get(_number(item_id)).message_id)


def _item(store: Store, judgement_request: JudgementRequest) -> Ranked | None:
    given = store.reviews.item(judgement_request.message_id)
    if given is None:
        return None
    approved = approved_text(given.answer, given.ratings, given.decision)
    item = ReviewItem(
        message_id=f"{_PREFIX}{judgement_request.id}",
        conversation_id=given.conversation_id,
        question=given.question,
        answer=judgement_request.text,
        opens=given.opens,
        at=judgement_request.created_at,
        ratings=(),
        decision=None,
    )
    return Ranked(item, (Why.PROPOSED,), () if approved is None else (approved,))


def _number(item_id: str) -> int:
    return int(item_id.removeprefix(_PREFIX))
