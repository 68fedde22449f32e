"""Answers of a refused candidate as items of the review queue, and a reviewer's decision on them in the store.

An item's id is the request's with a prefix, so that it is never taken for a message's.
"""

from __future__ import annotations

from collections.abc import Sequence

from assistant.web.review_order import Ranked, Why
from store import Store
from store.approval import approved_text
from store.errors import NotFound
from store.records import JudgementRequest, Message, Ruling
from store.reviews import ReviewItem

_PREFIX = "judgement:"


def is_judgement_request(item_id: str) -> bool:
    return item_id.startswith(_PREFIX)


def waiting(store: Store, assistant_id: str) -> list[Ranked]:
    """What nobody has decided, the oldest first."""
    return items(store, store.judgement_requests.open(assistant_id))


def fresh(store: Store, item_id: str) -> Ranked | None:
    """The item as it is now; None once somebody has decided, or its conversation was deleted."""
    try:
        request = store.judgement_requests.get(_number(item_id))
    except NotFound:
        return None
    return next(iter(items(store, [request])), None) if request.accepted is None else None


def decide(store: Store, item_ids: Sequence[str], ruling: Ruling, reviewer: str) -> None:
    """On all of them at once. Raises NotFound, StoreError."""
    accepted = ruling is Ruling.APPROVE
    store.judgement_requests.decide_all([_number(id) for id in item_ids], accepted, reviewer)


def take_back(store: Store, item_ids: Sequence[str]) -> None:
    """Raises NotFound, StoreError."""
    store.judgement_requests.decide_all([_number(id) for id in item_ids], None, "")


def decided_last(store: Store, assistant_id: str, reviewer: str, since: float) -> list[JudgementRequest]:
    """What this reviewer decided last and at once, since then (UTC seconds); without what a file brought."""
    decided = store.judgement_requests.last_decided(assistant_id, reviewer, since)
    return [request for request in decided if request.run_id is not None]


def decided_since(store: Store, assistant_id: str, reviewer: str, at: float) -> int:
    """How many this reviewer has decided, since `at` (UTC seconds)."""
    decided = store.judgement_requests.decided(assistant_id)
    return sum(one.decided_by == reviewer and (one.decided_at or 0.0) >= at for one in decided)


def items(store: Store, requests: Sequence[JudgementRequest]) -> list[Ranked]:
    """Without those whose conversation was deleted."""
    given = store.reviews.items(list(dict.fromkeys(request.message_id for request in requests)))
    answers = {item.message_id: item for item in given}
    return [_item(one, answers[one.message_id]) for one in requests if one.message_id in answers]


def branch(store: Store, item_id: str) -> list[Message]:
    """The turns down to the answer that was given then. Raises NotFound."""
    return store.messages.branch(store.judgement_requests.get(_number(item_id)).message_id)


def _item(request: JudgementRequest, given: ReviewItem) -> Ranked:
    approved = approved_text(given.answer, given.ratings, given.decision)
    item = ReviewItem(
        message_id=f"{_PREFIX}{request.id}",
        conversation_id=given.conversation_id,
        question=given.question,
        answer=request.text,
        opens=given.opens,
        at=request.created_at,
        ratings=(),
        decision=None,
    )
    return Ranked(item, (Why.JUDGEMENT,), () if approved is None else (approved,))


def _number(item_id: str) -> int:
    return int(item_id.removeprefix(_PREFIX))
