"""Answers of a refused candidate → items of the review queue, and a reviewer's word on one back into the store.

In: the store, an assistant, or the id of an item. Out: `Ranked` items that the queue treats like any other. Place:
under `review_queue`. An item's id is the proposal's with a prefix, so that it is never taken for a message's.
"""

from __future__ import annotations

from collections.abc import Sequence

from assistant.web.review_order import Ranked, Why
from store import Store
from store.approval import approved_text
from store.errors import NotFound
from store.records import Message, Proposal, Ruling
from store.reviews import ReviewItem

_PREFIX = "proposal:"


def is_proposal(item_id: str) -> bool:
    return item_id.startswith(_PREFIX)


def waiting(store: Store, assistant_id: str) -> list[Ranked]:
    """What nobody has decided, the oldest first."""
    return items(store, store.open_proposals(assistant_id))


def fresh(store: Store, item_id: str) -> Ranked | None:
    """The item as it is now; None once somebody has decided, or its conversation was deleted."""
    try:
        proposal = store.proposal(_number(item_id))
    except NotFound:
        return None
    return _item(store, proposal) if proposal.accepted is None else None


def decide(store: Store, item_ids: Sequence[str], ruling: Ruling, reviewer: str) -> None:
    """On all of them at once. Raises NotFound, StoreError."""
    store.decide_proposals([_number(id) for id in item_ids], ruling is Ruling.APPROVE, reviewer)


def take_back(store: Store, item_ids: Sequence[str]) -> None:
    """Raises NotFound, StoreError."""
    store.decide_proposals([_number(id) for id in item_ids], None, "")


def decided_last(store: Store, assistant_id: str, reviewer: str, since: float) -> list[Proposal]:
    """What this reviewer decided last and at once, since then (UTC seconds); without what a file brought."""
    decided = store.last_decided_proposals(assistant_id, reviewer, since)
    return [one for one in decided if one.run_id is not None]


def items(store: Store, proposals: Sequence[Proposal]) -> list[Ranked]:
    """Without those whose conversation was deleted."""
    found = (_item(store, one) for one in proposals)
    return [one for one in found if one is not None]


def decided_since(store: Store, assistant_id: str, reviewer: str, at: float) -> int:
    """How many this reviewer has decided, since `at` (UTC seconds)."""
    decided = store.decided_proposals(assistant_id)
    return sum(one.decided_by == reviewer and (one.decided_at or 0.0) >= at for one in decided)


def branch(store: Store, item_id: str) -> list[Message]:
    """The turns down to the answer that was given then. Raises NotFound."""
    return store.branch(store.proposal(_number(item_id)).message_id)


def _item(store: Store, proposal: Proposal) -> Ranked | None:
    given = store.review_item(proposal.message_id)
    if given is None:
        return None
    approved = approved_text(given.answer, given.ratings, given.decision)
    item = ReviewItem(
        message_id=f"{_PREFIX}{proposal.id}",
        conversation_id=given.conversation_id,
        question=given.question,
        answer=proposal.text,
        opens=given.opens,
        at=proposal.created_at,
        ratings=(),
        decision=None,
    )
    return Ranked(item, (Why.PROPOSED,), () if approved is None else (approved,))


def _number(item_id: str) -> int:
    return int(item_id.removeprefix(_PREFIX))
